//! A small run of the embedded default, from recipe to report; and the same run killed on its way.
//!
//! Needs the assets of the demo: `cargo xtask test` provides them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/mini/demo.toml");
/// The demo, cut down to what takes seconds, from where the reference begins: there the first losses are known.
const SMALL: [&str; 15] = [
    "start_from_data=false",
    "data.training_scenes=64",
    "stage1.steps=12",
    "stage1.batch=8",
    "stage1.checkpoint_every=2",
    "stage1.log_every=1",
    "stage2.steps=6",
    "stage2.batch=4",
    "stage2.checkpoint_every=2",
    "stage2.log_every=1",
    "evaluation.gallery=20",
    "evaluation.rerank=4",
    "evaluation.captions=4",
    "evaluation.samples=2",
    "ablation=false",
];

pub(crate) fn assets() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("BLIP2_HOME")?);
    home.join("assets/smollm2").is_dir().then_some(home)
}

fn pretrain(home: &Path, run: &Path, resume: bool) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .env("BLIP2_HOME", home)
        .args(["pretrain", "--recipe", RECIPE, "--run"])
        .arg(run);
    SMALL.iter().for_each(|assignment| {
        command.args(["--set", assignment]);
    });
    if resume {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn finish(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// All figures of a run; how long it took is left out.
fn figures(run: &Path) -> Value {
    let mut report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    for measured in ["machine", "seconds"] {
        assert!(
            report.as_object_mut().unwrap().remove(measured).is_some(),
            "{measured}"
        );
    }
    report
}

fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn a_killed_run_resumes_to_the_figures_of_an_unbroken_one() {
    let Some(home) = assets() else {
        eprintln!("SKIPPED: the assets of the demo are absent; run `cargo xtask assets` and set BLIP2_HOME");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    finish(&mut pretrain(&home, &whole, false));

    let mut child = pretrain(&home, &broken, false)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let first = broken.join("checkpoints/stage1/step-00000004/manifest.json");
    let patience = Instant::now();
    while !first.exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it could be killed"
        );
        assert!(
            patience.elapsed() < Duration::from_secs(300),
            "no checkpoint after five minutes"
        );
        sleep(Duration::from_millis(5));
    }
    // Anywhere in the steps that follow, also in the middle of writing the next checkpoint.
    sleep(Duration::from_millis(u64::from(std::process::id() % 400)));
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!broken.join("report.json").exists());
    finish(&mut pretrain(&home, &broken, true));
    assert_eq!(figures(&whole), figures(&broken));

    untrained_losses_know_nothing(&whole);
    a_start_from_data_knows_the_words_alone(&home, &folder.path().join("started"));
    frozen_models_stay_frozen(&whole);
    the_run_captions_pictures(&home, &whole);
    another_recipe_is_refused(&home, &whole);
    another_run_begins_where_this_one_ended_and_asks_on_the_way(&home, &whole);
    what_the_run_never_saw_is_retrieved(&home, &whole);
}

#[cfg(not(feature = "mpi"))]
#[test]
fn one_of_several_processes_does_not_train_alone() {
    let output = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .envs([("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")])
        .args(["pretrain", "--recipe", RECIPE, "--run", "none"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message
            .contains("Open MPI started this process as rank 1 of 2, but this program was built without MPI"),
        "{message}"
    );
}

/// The first step's losses are those of guessing: ln(batch), ln 2, ln(vocabulary).
fn untrained_losses_know_nothing(run: &Path) {
    for (name, expected) in [("itc", 8_f64.ln()), ("itm", 2_f64.ln()), ("itg", 30_523_f64.ln())] {
        let value = first_loss(run, name);
        assert!(
            (value - expected).abs() < 0.15 * expected,
            "{name} begins at {value}, not near {expected}"
        );
    }
}

/// Where a run starts from data, its language loss begins at what the frequencies of words leave open; the other losses must
/// find out all the same.
fn a_start_from_data_knows_the_words_alone(home: &Path, run: &Path) {
    let changes = ["start_from_data=true", "stage1.steps=1", "stage2.steps=1"];
    let changes = changes.iter().flat_map(|change| ["--set", change]);
    finish(pretrain(home, run, false).args(changes));
    for (name, expected) in [("itc", 8_f64.ln()), ("itm", 2_f64.ln())] {
        let value = first_loss(run, name);
        assert!(
            (value - expected).abs() < 0.15 * expected,
            "{name} begins at {value}"
        );
    }
    let words = first_loss(run, "itg");
    assert!(words < 0.5 * 30_523_f64.ln(), "itg begins at {words}");
}

/// What a loss of the first step of stage 1 was.
fn first_loss(run: &Path, name: &str) -> f64 {
    let log = log(run);
    let mut steps = log.iter().filter(|line| line["phase"] == "stage1");
    let first = steps.find(|line| line["step"] == 1).unwrap();
    first[name].as_f64().unwrap()
}

fn frozen_models_stay_frozen(run: &Path) {
    let log = log(run);
    let hashes = |when: &str| {
        let line = log.iter().rev().find(|line| line["frozen"] == when).unwrap();
        (line["encoder"].clone(), line["language_model"].clone())
    };
    assert_eq!(hashes("before"), hashes("after"));
}

fn the_run_captions_pictures(home: &Path, run: &Path) {
    let picture = fs::read_dir(run.join("pictures"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command.env("BLIP2_HOME", home).args([
        "caption",
        "--json",
        "--num-beams",
        "1",
        "--max-new-tokens",
        "4",
        "--model",
    ]);
    let output = command.arg(run).arg(&picture).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!line["ids"].as_array().unwrap().is_empty());
}

fn another_recipe_is_refused(home: &Path, run: &Path) {
    let recipe = || fs::read_to_string(run.join("recipe.toml")).unwrap();
    let begun = recipe();
    let output = pretrain(home, run, true)
        .args(["--set", "seed=43"])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("another recipe or seed"), "{message}");
    assert_eq!(recipe(), begun, "a refused run must leave the folder as it was");

    // How it is run may change, and is said.
    let changed = ["--set", "stage2.skip_bad_steps=7"];
    finish(pretrain(home, run, true).args(changed));
    assert!(recipe().contains("skip_bad_steps = 7"));
    let said = log(run)
        .into_iter()
        .rev()
        .find_map(|line| line.get("recipe_changed").cloned());
    assert_eq!(
        said.unwrap(),
        serde_json::json!(["stage2.skip_bad_steps: 0 before, 7 now"])
    );

    let output = pretrain(home, run, false).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("holds a run already"), "{message}");
}

fn another_run_begins_where_this_one_ended_and_asks_on_the_way(home: &Path, run: &Path) {
    let after = run.with_file_name("after");
    let from = format!("stage1.from={}", run.display());
    let changes = [&from, "stage1.steps=0", "evaluation.every=2"];
    let changes = changes.iter().flat_map(|change| ["--set", change]);
    finish(pretrain(home, &after, false).args(changes));
    let model = |run: &Path| fs::read(run.join("model/representation.safetensors")).unwrap();
    assert!(model(&after) == model(run), "stage 1 is another");
    let log = log(&after);
    assert!(log.iter().all(|line| line["phase"] != "stage1"));
    for part in ["held-out style", "held-out pairs", "held-out combination"] {
        let asked = log
            .iter()
            .filter(|line| line[part]["exact"].is_number() && line[part]["f1"].is_number());
        let asked: Vec<_> = asked
            .map(|line| (line["phase"].as_str(), line["step"].as_u64()))
            .collect();
        assert_eq!(
            asked,
            [2, 4, 6].map(|step| (Some("stage2"), Some(step))),
            "{part}"
        );
    }
}

/// Scenes of a held-out part, of those that the recipe of the run speaks of.
fn what_the_run_never_saw_is_retrieved(home: &Path, run: &Path) {
    let out = run.with_file_name("retrieved");
    let data = format!(
        "scenes:{}#split=held-out pairs",
        run.join("recipe.toml").display()
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .env("BLIP2_HOME", home)
        .args(["evaluate", "--task", "retrieval", "--limit", "10", "--k", "2"]);
    finish(
        command
            .args(["--data", &data])
            .arg("--model")
            .arg(run)
            .arg("--out")
            .arg(&out),
    );
    let figures: Value = serde_json::from_slice(&fs::read(out.join("figures.json")).unwrap()).unwrap();
    assert_eq!(figures["count"], 10);
    assert!(figures["figures"]["txt_r1"].is_number(), "{figures}");
}
