//! Fetching models by the real program, from a hub that is played by a server on this machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use blip2_golden::fixture;
use tempfile::TempDir;

use crate::hub::{command, run};
use crate::server::{COMMIT, MODEL, Manners, Served, Server};
use crate::support::stderr;

const WEIGHTS: &str = "model.safetensors";

/// A hub that holds the tiny OPT model, and the folder of a user who has nothing.
struct World {
    server: Server,
    endpoint: String,
    home: TempDir,
}

impl World {
    fn new(change: impl FnOnce(&mut Manners)) -> Self {
        let mut manners = Manners::default();
        for entry in fs::read_dir(fixture("hf/opt-tiny")).unwrap() {
            let entry = entry.unwrap();
            let (name, content) = (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            );
            let large = name.ends_with(".safetensors");
            let served = if large {
                Served::large(content)
            } else {
                Served::small(content)
            };
            manners.files.insert(name, served);
        }
        change(&mut manners);
        let server = Server::start(manners);
        Self {
            endpoint: server.endpoint(),
            server,
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(self.home.path(), &[("HF_ENDPOINT", &self.endpoint)], arguments)
    }

    fn folder(&self) -> PathBuf {
        self.home
            .path()
            .join(".cache/huggingface/hub/models--tests--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.folder().join("snapshots").join(COMMIT)
    }

    /// Bytes of unfinished files.
    fn unfinished(&self) -> u64 {
        let entries = fs::read_dir(self.folder().join("blobs"))
            .into_iter()
            .flatten()
            .flatten();
        let unfinished =
            entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "incomplete"));
        unfinished
            .filter_map(|entry| entry.metadata().ok())
            .map(|found| found.len())
            .sum()
    }

    fn assert_whole(&self) {
        for file in [
            "config.json",
            "generation_config.json",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            WEIGHTS,
        ] {
            let expected = fs::read(fixture("hf/opt-tiny").join(file)).unwrap();
            assert!(
                fs::read(self.snapshot().join(file)).unwrap() == expected,
                "{file} has other content"
            );
        }
        // What only the tests need was not fetched.
        assert!(!self.snapshot().join("cases.json").exists() && !self.snapshot().join("image0.png").exists());
        assert_eq!(self.unfinished(), 0);
    }
}

/// What `output` says, which must be a failure that says each of `parts`.
fn assert_fails(output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not said: {message}");
    }
}

fn caption(world: &World, variables: &[(&str, &str)], model: &str, more: &[&str]) -> Output {
    let picture = fixture("hf/opt-tiny/image0.png").display().to_string();
    let arguments = [
        "caption",
        "--model",
        model,
        &picture,
        "--max-new-tokens",
        "4",
        "--json",
    ];
    run(world.home.path(), variables, &[&arguments[..], more].concat())
}

#[test]
fn what_was_pulled_captions_without_a_network() {
    let world = World::new(|_| ());
    let pulled = world.run(&["pull", MODEL]);
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    assert_eq!(
        String::from_utf8_lossy(&pulled.stdout).trim(),
        world.snapshot().display().to_string()
    );
    world.assert_whole();
    world.server.asked();
    let given = caption(&world, &[], &fixture("hf/opt-tiny").display().to_string(), &[]);
    let variables = [("HF_ENDPOINT", &*world.endpoint), ("HF_HUB_OFFLINE", "1")];
    for more in [&[][..], &["--revision", COMMIT], &["--download"]] {
        let named = caption(&world, &variables, MODEL, more);
        assert!(named.status.success(), "{}", stderr(&named));
        assert_eq!(named.stdout, given.stdout);
    }
    // Nothing is fetched unasked.
    let named = caption(&world, &variables[..1], MODEL, &[]);
    assert_eq!(named.stdout, given.stdout);
    assert_eq!(world.server.asked(), []);
}

#[test]
fn a_model_is_fetched_on_the_way_where_that_is_asked_for() {
    let world = World::new(|_| ());
    let variables = [("HF_ENDPOINT", &*world.endpoint)];
    assert_fails(
        &caption(&world, &variables, MODEL, &[]),
        &["blip2 pull tests/tiny"],
    );
    assert_eq!(world.server.asked(), []);
    let fetched = caption(&world, &variables, MODEL, &["--download", "--revision", "v1.0"]);
    let given = caption(&world, &[], &fixture("hf/opt-tiny").display().to_string(), &[]);
    assert_eq!(fetched.stdout, given.stdout, "{}", stderr(&fetched));
    world.assert_whole();
    assert!(world.folder().join("refs/v1.0").is_file() && !world.folder().join("refs/main").exists());
    fs::create_dir_all(world.home.path().join(MODEL)).unwrap();
    assert_fails(
        &caption(&world, &variables, MODEL, &["--download"]),
        &["tests/tiny", "leave out --download"],
    );
}

#[test]
fn models_that_a_recipe_names_are_fetched_before_training() {
    let world = World::new(|_| ());
    let recipe = |name: &str| format!("{}/../../recipes/mini/{name}", env!("CARGO_MANIFEST_DIR"));
    let begin = |recipe: &str, more: &[&str]| {
        let arguments = ["pretrain", "--recipe", recipe, "--run", "begun", "--download"];
        world.run(&[&arguments[..], more].concat())
    };
    let scenes = recipe("scenes.toml");
    // Nothing else that the recipe names is there, so that this is as far as it goes.
    let begun = begin(&scenes, &["--set", &format!("language_model.path={MODEL}")]);
    assert_eq!(begun.status.code(), Some(1), "{}", stderr(&begun));
    world.assert_whole();
    let nothing = ["no model of the hub", "leave out --download"];
    assert_fails(&begin(&scenes, &[]), &nothing);
    assert_fails(&begin(&recipe("demo.toml"), &[]), &nothing);
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    let world =
        World::new(|manners| manners.files.get_mut(WEIGHTS).unwrap().delay = Duration::from_millis(100));
    let variables = [("HF_ENDPOINT", &*world.endpoint)];
    let mut killed = command(world.home.path(), &variables, &["pull", MODEL])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while world.unfinished() < 1 << 17 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing was fetched");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let kept = world.unfinished();
    assert!(!world.snapshot().exists() && !world.folder().join("refs").exists());
    assert_fails(
        &caption(&world, &variables, MODEL, &[]),
        &["blip2 pull tests/tiny"],
    );
    world
        .server
        .change(|manners| manners.files.get_mut(WEIGHTS).unwrap().delay = Duration::ZERO);
    world.server.asked();
    let resumed = world.run(&["pull", MODEL]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    world.assert_whole();
    let start = format!("bytes={kept}-");
    let asked = world.server.asked();
    assert!(
        asked.iter().any(|asked| asked.range.as_deref() == Some(&*start)),
        "{start}: {asked:?}"
    );
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let world =
        World::new(|manners| manners.files.get_mut(WEIGHTS).unwrap().delay = Duration::from_millis(30));
    let variables = [("HF_ENDPOINT", &*world.endpoint)];
    let pull = || {
        command(world.home.path(), &variables, &["pull", MODEL])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let both = [pull(), pull()];
    for mut process in both {
        assert!(process.wait().unwrap().success());
    }
    world.assert_whole();
    let transfers = world.server.asked().into_iter();
    let transfers = transfers.filter(|asked| asked.path.starts_with("/cdn/") && asked.range.is_none());
    assert_eq!(transfers.count(), 1);
}

#[test]
fn a_broken_connection_is_told_of_and_mended() {
    let world = World::new(|manners| {
        let weights = manners.files.get_mut(WEIGHTS).unwrap();
        (weights.breaks, weights.share) = (1, 0.5);
    });
    let pulled = world.run(&["pull", MODEL]);
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    assert!(
        stderr(&pulled).contains("trying again in 0.5 s"),
        "{}",
        stderr(&pulled)
    );
    world.assert_whole();
}

#[test]
fn failures_end_with_what_to_do() {
    let world = World::new(|manners| {
        manners.token = Some("secret");
        manners.files.get_mut(WEIGHTS).unwrap().announced_size = Some(5);
    });
    assert_fails(
        &world.run(&["pull", MODEL]),
        &["tests/tiny", "licence", "HF_TOKEN"],
    );
    let with = |variable: &str, value: &str, arguments: &[&str]| {
        run(
            world.home.path(),
            &[("HF_ENDPOINT", &world.endpoint), (variable, value)],
            arguments,
        )
    };
    assert_fails(
        &with("HF_TOKEN", "wrong", &["pull", MODEL]),
        &["refuses the token"],
    );
    let secret = [
        ("HF_TOKEN", "secret"),
        ("HUGGING_FACE_HUB_TOKEN", "secret\n"),
        ("HF_TOKEN_PATH", "~/token"),
    ];
    fs::write(world.home.path().join("token"), "secret\n").unwrap();
    for (variable, value) in secret {
        let output = with(variable, value, &["pull", MODEL]);
        assert_fails(&output, &[WEIGHTS, "the hub announced 5", "removed"]);
        let output = with(variable, value, &["pull", MODEL, "--revision", "v9"]);
        assert_fails(&output, &["tests/tiny has no revision `v9`"]);
        let output = with(variable, value, &["pull", "tests/absent"]);
        assert_fails(&output, &["tests/absent"]);
    }
    assert_eq!(world.unfinished(), 0);
    world.server.asked();
    assert_fails(
        &with("HF_HUB_OFFLINE", "yes", &["pull", MODEL]),
        &["HF_HUB_OFFLINE", "is not there"],
    );
    assert_fails(
        &with("TRANSFORMERS_OFFLINE", "1", &["pull", MODEL]),
        &["HF_HUB_OFFLINE"],
    );
    assert_eq!(world.server.asked(), []);
    assert_fails(&world.run(&["pull", "tiny"]), &["OWNER/NAME"]);
}
