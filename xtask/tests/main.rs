//! The training commands with stand-ins for cargo and for the `blip2` binary: what is launched, what is forwarded, and
//! what is restarted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A folder with a recipe, a cargo that builds nothing, and a `blip2` that is the given script.
struct World {
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: a script cannot be started while another thread's new process still has it open for writing.
static ALONE: Mutex<()> = Mutex::new(());

impl World {
    /// `script` runs in the folder and finds the arguments that it was given in `$@`.
    fn new(script: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            _alone: alone,
        };
        fs::write(world.path("recipe.toml"), "").unwrap();
        fs::create_dir_all(world.path("target/release")).unwrap();
        world.script("cargo", "echo \"$@\" > cargo.log");
        world.script(
            "target/release/blip2",
            &format!("echo \"$@\" >> blip2.log\n{script}"),
        );
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, script: &str) {
        let script = format!("#!/bin/sh\ncd '{}'\n{script}\n", self.folder.path().display());
        fs::write(self.path(name), script).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(arguments)
            .args(["--recipe", "recipe.toml", "--run", "run", "--no-assets"])
            .current_dir(self.folder.path())
            .env("CARGO", self.path("cargo"))
            .env("CARGO_TARGET_DIR", self.path("target"))
            .env("BLIP2_HOME", self.path("home"))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.xtask(arguments).output().unwrap()
    }

    /// The arguments of every launch of `blip2`.
    fn launches(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("blip2.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

const LAUNCH: &str = "pretrain --recipe recipe.toml --run run";

#[test]
fn a_recipe_is_built_and_launched_with_what_was_asked() {
    let world = World::new("echo \"$BLIP2_HOME\" > home.log");
    let output = world.run(&[
        "pretrain",
        "--set",
        "stage1.steps=9",
        "--set",
        "seed=3",
        "--resume",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        world.launches(),
        [format!("{LAUNCH} --set stage1.steps=9 --set seed=3 --resume")]
    );
    let built = fs::read_to_string(world.path("cargo.log")).unwrap();
    assert_eq!(built.trim(), "build --release --workspace --bin blip2");
    let home = fs::read_to_string(world.path("home.log")).unwrap();
    assert_eq!(Path::new(home.trim()), world.path("home"));
}

#[test]
fn what_refuses_to_start_is_not_started_again() {
    for code in [1, 2] {
        let world = World::new(&format!("exit {code}"));
        assert_eq!(
            world.run(&["pretrain", "--max-restarts", "3"]).status.code(),
            Some(code)
        );
        assert_eq!(world.launches().len(), 1);
    }
}

#[test]
fn a_run_that_fails_while_it_trains_is_resumed() {
    let world = World::new(
        "mkdir -p run; echo {} >> run/metrics.jsonl; touch -d \"@$(wc -l < blip2.log)\" run/metrics.jsonl\n\
         [ $(wc -l < blip2.log) -ge 3 ]",
    );
    let output = world.run(&["pretrain", "--max-restarts", "5"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(world.launches()[2], format!("{LAUNCH} --resume"));
    assert_eq!(world.launches().len(), 3);
}

#[test]
fn a_killed_run_is_resumed_until_it_ends() {
    let world = World::new("[ $(wc -l < blip2.log) -ge 3 ] || kill -9 $$");
    let output = world.run(&["pretrain", "--max-restarts", "2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        world.launches(),
        [
            LAUNCH.to_owned(),
            format!("{LAUNCH} --resume"),
            format!("{LAUNCH} --resume")
        ]
    );
}

#[test]
fn restarts_are_counted() {
    let world = World::new("kill -9 $$");
    let output = world.run(&["pretrain", "--max-restarts", "2"]);
    assert_eq!(output.status.code(), Some(128 + 9));
    assert_eq!(world.launches().len(), 3);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--resume to continue"),
        "{output:?}"
    );
}

#[test]
fn stopping_us_stops_the_run() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::new("echo $$ > pid\nexec sleep 60");
        let mut xtask = world
            .xtask(&["pretrain", "--max-restarts", "3"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let pid = loop {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "blip2 was not launched"
            );
            match fs::read_to_string(world.path("pid"))
                .unwrap_or_default()
                .trim()
                .parse()
            {
                Ok(pid) => break pid,
                Err(_) => sleep(Duration::from_millis(20)),
            }
        };
        kill_process(Pid::from_child(&xtask), signal).unwrap();
        assert_eq!(xtask.wait().unwrap().code(), Some(128 + signal.as_raw()));
        assert!(start.elapsed() < Duration::from_secs(20));
        let child = Pid::from_raw(pid).unwrap();
        assert!(
            rustix::process::test_kill_process(child).is_err(),
            "the run is still alive"
        );
        assert_eq!(
            world.launches().len(),
            1,
            "a run that was stopped is not restarted"
        );
    }
}

#[test]
fn the_demo_ends_with_its_figures_and_what_to_do_next() {
    let world = World::new(r#"mkdir run; echo '{"summary": {"recall": 0.5, "steps": 7}}' > run/report.json"#);
    let output = world.run(&["demo", "--seed", "5"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(world.launches(), [format!("{LAUNCH} --set seed=5")]);
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "  recall  0.5000",
        "  steps        7",
        "report:   run/report.html",
        "blip2 caption --model run picture.png",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let again = world.run(&["demo"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("run holds a run already"),
        "{again:?}"
    );
    assert_eq!(world.launches().len(), 1, "a run that exists is not overwritten");
}

#[test]
fn what_fails_before_the_launch_is_said() {
    let world = World::new("");
    world.script("cargo", "exit 101");
    let output = world.run(&["pretrain"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("blip2 does not build"),
        "{output:?}"
    );
    fs::remove_file(world.path("recipe.toml")).unwrap();
    let output = world.run(&["demo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("no recipe recipe.toml"),
        "{output:?}"
    );
    assert_eq!(world.launches().len(), 0);
}

#[test]
fn captions_are_filtered_by_recipe_again_where_that_is_killed() {
    let world = World::new("[ $(wc -l < blip2.log) -ge 3 ] || kill -9 $$");
    let filter = |extra: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let command = command
            .args([
                "capfilt",
                "--recipe",
                "recipe.toml",
                "--out",
                "out",
                "--no-assets",
            ])
            .args(extra)
            .current_dir(world.folder.path())
            .env("CARGO", world.path("cargo"))
            .env("CARGO_TARGET_DIR", world.path("target"))
            .env("BLIP2_HOME", world.path("home"));
        command.stdin(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(filter(&["--max-restarts", "0"]), Some(128 + 9));
    assert_eq!(filter(&["--max-restarts", "2", "--", "--shard", "1/2"]), Some(0));
    let launch = "capfilt --recipe recipe.toml --out out";
    assert_eq!(
        world.launches(),
        [
            launch.to_owned(),
            format!("{launch} --shard 1/2"),
            format!("{launch} --shard 1/2 --resume")
        ]
    );
}

#[test]
fn an_evaluation_goes_on_by_the_same_command_where_it_is_killed() {
    let world = World::new("[ $(wc -l < blip2.log) -ge 2 ] || kill -9 $$");
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let command = command
        .args([
            "evaluate",
            "--max-restarts",
            "3",
            "--",
            "--task",
            "vqa",
            "--out",
            "out",
        ])
        .current_dir(world.folder.path())
        .env("CARGO", world.path("cargo"))
        .env("CARGO_TARGET_DIR", world.path("target"))
        .env("BLIP2_HOME", world.path("home"));
    assert_eq!(command.stdin(Stdio::null()).status().unwrap().code(), Some(0));
    let launch = "evaluate --task vqa --out out".to_owned();
    assert_eq!(world.launches(), [launch.clone(), launch]);
}
