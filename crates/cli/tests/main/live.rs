//! Pretraining on a mixture of data sets with the encoder live: 40 steps are 17 steps, SIGKILL, and 23 steps.
//!
//! Needs the assets of the demo: `cargo xtask test` provides them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::pretrain::assets;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const STEPS: usize = 40;
const KILLED_AFTER: u64 = 17;
/// Small pictures and few tokens.
const SMALL: [&str; 8] = [
    "encoder.image_size=56",
    "stage1.steps=40",
    "stage1.batch=6",
    "stage1.precision=f32",
    "stage1.log_every=1",
    "stage1.checkpoint_every=17",
    "loader.threads=4",
    "loader.augmentation={ scale = [0.5, 1.0], ratio = [0.75, 1.3333], flip = 0.5 }",
];

/// The recipe of the scenes with three worlds in its mixture, and stage 1 alone.
fn recipe(folder: &Path) -> PathBuf {
    let read = |name: &str| fs::read_to_string(Path::new(ROOT).join("recipes/mini").join(name)).unwrap();
    let (recipe, world) = (read("scenes.toml"), read("world.toml"));
    let mut sets = String::new();
    for (number, weight) in [(1, 0.5), (2, 0.3), (3, 0.2)] {
        let path = folder.join(format!("world{number}.toml"));
        let other = world
            .replace("seed = 7", &format!("seed = {number}"))
            .replace("scenes = 2400", "scenes = 50");
        assert_ne!(other, world);
        fs::write(&path, other).unwrap();
        let path = path.display();
        sets += &format!(
            "[[data]]\nname = \"world {number}\"\nformat = \"scenes\"\npath = '{path}'\nweight = {weight}\n\n"
        );
    }
    let (head, rest) = recipe.split_once("\n[[data]]").unwrap();
    let (_, loader) = rest.split_once("[loader]").unwrap();
    let (stage1, _) = loader.split_once("[stage2]").unwrap();
    let path = folder.join("mixture.toml");
    fs::write(&path, format!("{head}\n{sets}[loader]{stage1}")).unwrap();
    path
}

fn pretrain(home: &Path, recipe: &Path, run: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .env("BLIP2_HOME", home)
        .args(["pretrain", "--resume", "--recipe"])
        .arg(recipe)
        .arg("--run")
        .arg(run)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for assignment in SMALL {
        command.args(["--set", assignment]);
    }
    command
}

fn finish(mut command: Command) {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}

/// What the run decided, a line a step.
fn figures(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["phase"] == "stage1")
        .map(|mut line| {
            let measured = ["seconds", "samples_per_second", "data_wait", "memory_mb"];
            measured
                .iter()
                .for_each(|name| drop(line.as_object_mut().unwrap().remove(*name)));
            line
        })
        .collect()
}

#[test]
fn a_killed_run_on_a_mixture_goes_on_with_the_very_next_sample() {
    let Some(home) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    finish(pretrain(&home, &recipe, &whole));

    let mut child = pretrain(&home, &recipe, &broken)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let checkpoint = broken.join(format!("checkpoints/stage1/step-{KILLED_AFTER:08}/manifest.json"));
    let patience = Instant::now();
    while !checkpoint.exists() {
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
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    finish(pretrain(&home, &recipe, &broken));

    let (expected, found) = (figures(&whole), figures(&broken));
    assert_eq!(expected.len(), STEPS);
    assert_eq!(found, expected);
    let model = |run: &Path| fs::read(run.join("model/representation.safetensors")).unwrap();
    assert!(model(&whole) == model(&broken), "the models differ");
}
