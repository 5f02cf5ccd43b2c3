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
        command.args(arguments);
        if !arguments.starts_with(&["reproduce"]) {
            command.args(["--recipe", "recipe.toml", "--run", "run", "--no-assets"]);
        }
        command
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

/// A `blip2` that makes empty runs, and finds 10 points more with all losses than without one.
const EVIDENCE: &str = r#"for word; do
    case $word in *without*) points=40;; *demo*) points=50;; esac
    case $before in
        --run) mkdir -p "$word"; sed "s/SHARE/0.$points/g" report.json > "$word/report.json";;
        --out) mkdir -p "$word"; echo "{\"count\": 9, \"figures\": {\"txt_r1\": $points, \"img_r1\": $points}}" > "$word/figures.json";;
    esac
    before=$word
done"#;

/// A world in which claims are asked, with a page for them.
fn claims(script: &str) -> World {
    let world = World::new(script);
    let report = r#"{"title": "", "summary": {}, "recipe": "", "machine": "", "losses": [], "generation": [], "ablation": [],
        "samples": [], "looks": [], "retrieval": [{"split": "held-out style", "model": "Q-Former, ITC",
        "image_to_text": [SHARE, 1, 1], "text_to_image": [SHARE, 1, 1], "images": 9, "texts": 9, "relations": null}]}"#;
    fs::write(world.path("report.json"), report).unwrap();
    fs::create_dir(world.path("docs")).unwrap();
    fs::write(world.path("docs/evidence.md"), "# Evidence\n").unwrap();
    world
}

#[test]
fn a_claim_is_asked_once_and_told_with_what_came_out() {
    let world = claims(EVIDENCE);
    let page = world.path("docs/evidence.md");
    let reproduce = |more: &[&str]| {
        let mut command = world.xtask(&["reproduce"]);
        command
            .args([
                "--no-assets",
                "--docs",
                "docs",
                "--runs",
                "runs",
                "--set",
                "stage1.steps=3",
            ])
            .args(more);
        command.output().unwrap()
    };
    let output = reproduce(&["itg", "--seed", "1", "--seed", "2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let launches = world.launches();
    let trained = |launches: &[String]| {
        launches
            .iter()
            .filter(|launch| launch.starts_with("pretrain"))
            .count()
    };
    assert_eq!(trained(&launches), 4, "{launches:#?}");
    let without = "--run runs/without-itg-2 --set stage1.weights={ itg = 0.0 }";
    assert!(
        launches.iter().any(|launch| launch.contains(without)),
        "{launches:#?}"
    );
    assert!(
        launches[0].ends_with("--set stage1.steps=3 --set seed=1 --resume"),
        "{}",
        launches[0]
    );
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("**The claim stands here.**"), "{text}");
    assert!(text.contains("stands, +10.0 points (+10.0 to +10.0)"), "{text}");
    assert!(
        text.contains("**Not run yet**: `cargo xtask reproduce stage1`"),
        "{text}"
    );
    assert!(text.contains("\n- evaluated at "), "{text}");
    assert!(world.path("docs/evidence-itg.svg").exists());

    let output = reproduce(&["itg", "--seed", "1", "--seed", "2"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        trained(&world.launches()),
        4,
        "what was trained is not trained again"
    );
    assert_eq!(fs::read_to_string(&page).unwrap(), text);

    let output = reproduce(&["itg", "--seed", "1", "--set", "stage1.steps=4"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("runs/demo-1 was made by another recipe"), "{said}");
    let output = reproduce(&["nothing"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("there is no claim `nothing`, but itg"), "{said}");
}

#[test]
fn a_claim_goes_on_where_its_run_was_cut_off() {
    let world = claims(&format!("[ $(wc -l < blip2.log) -ne 2 ] || exit 1\n{EVIDENCE}"));
    let words = [
        "--no-assets",
        "--docs",
        "docs",
        "--runs",
        "runs",
        "itg",
        "--seed",
        "1",
    ];
    let reproduce = || world.xtask(&["reproduce"]).args(words).output().unwrap();
    let output = reproduce();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("without-itg, seed 1: exit code 1"), "{said}");
    assert_eq!(reproduce().status.code(), Some(0));
    let runs: Vec<String> = world
        .launches()
        .iter()
        .filter_map(|launch| {
            launch
                .split("--run runs/")
                .nth(1)?
                .split(' ')
                .next()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(runs, ["demo-1", "without-itg-1", "without-itg-1"]);
}
