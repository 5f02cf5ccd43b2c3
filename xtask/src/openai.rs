//! OpenAI's own Python client, and curl, against `blip2 serve`: fetched by pip where there is one.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::environment::Environment;
use crate::served::Served;
use crate::{launch, places, process};

/// The client, of one version so that a failure is ours.
const CLIENT: &str = "openai==3.57.0";
/// What the server asks for.
const KEY: &str = "a-key-of-the-tests";

/// Whether both clients get what they ask for; `None` where there is no pip, or nothing to fetch.
///
/// # Errors
/// The program cannot be built or started.
pub(crate) fn check(target: &Path) -> Result<Option<bool>> {
    let folder = target.join("openai");
    let Some(environment) = Environment::with(&folder, CLIENT)? else {
        return Ok(None);
    };
    let binary = launch::build("blip2")?;
    let keys = folder.join("keys.txt");
    fs::write(&keys, format!("# for tests\n{KEY}\n"))
        .with_context(|| format!("cannot write {}", keys.display()))?;
    let keys = keys.to_string_lossy();
    let options = ["--api-key-file", keys.as_ref(), "--device", "flex"];
    let model = Served::small_model("opt-tiny");
    let picture = model.join("image1.png");
    let server = Served::start(&binary, &model, &options)?;
    let vectors = Served::start(&binary, &Served::small_model("itm-tiny"), &options)?;
    let mut client = environment.python();
    client
        .arg(places::root().join("tests/peer/openai_client.py"))
        .arg(server.address.to_string())
        .arg(&picture)
        .arg(KEY)
        .arg(vectors.address.to_string());
    let mut passed = process::run(&mut client, || ())?.is_success();
    passed &= curl(&server)?;
    passed &= server.stop()? & vectors.stop()?;
    Ok(Some(passed))
}

/// What curl sees: a figure, a model, a refusal, pieces as they come.
fn curl(server: &Served) -> Result<bool> {
    let at = |path: &str| format!("http://{}{path}", server.address);
    let key = format!("Authorization: Bearer {KEY}");
    let keyed = ["--header", key.as_str()];
    let body = "{\"model\": \"opt-tiny\", \"messages\": []}";
    let calls: [(&str, Vec<&str>, &str); 5] = [
        ("/ready", vec!["--fail"], "ready"),
        ("/metrics", vec!["--fail"], "blip2_requests_total"),
        ("/v1/models", [&keyed[..], &["--fail"]].concat(), "opt-tiny"),
        ("/v1/models", vec![], "invalid_api_key"),
        (
            "/v1/chat/completions",
            [&keyed[..], &["--json", body]].concat(),
            "messages is empty",
        ),
    ];
    let mut passed = true;
    for (path, options, expected) in calls {
        let output = Command::new("curl")
            .args(["--silent", "--show-error"])
            .args(&options)
            .arg(at(path))
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                println!("SKIPPED: there is no curl: {error}");
                return Ok(passed);
            }
        };
        let told = String::from_utf8_lossy(&output.stdout);
        let good = output.status.success() && told.contains(expected);
        println!("{} curl {path}: {expected}", if good { "ok" } else { "FAIL" });
        passed &= good;
    }
    Ok(passed)
}
