//! Jobs of several processes on a small recipe.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const PROGRAM: &str = env!("CARGO_BIN_EXE_blip2");
/// Thirty steps of stage 1 in seconds.
const SMALL: [&str; 11] = [
    "representation.qformer.num_hidden_layers=2",
    "encoder.image_size=56",
    "loader.threads=1",
    "stage1.steps=30",
    "stage1.batch=8",
    "stage1.parts=4",
    "stage1.precision=f32",
    "stage1.log_every=1",
    "stage1.checkpoint_every=10",
    "stage1.compare_every=7",
    "stage1.deterministic=true",
];
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// A folder with a recipe, and the right to load the machine.
pub(crate) struct Jobs {
    home: PathBuf,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Jobs {
    /// Nothing where the assets of the demo are absent.
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    pub(crate) fn new() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
        let Some(home) = home.filter(|home| home.join("assets/bert").is_dir()) else {
            eprintln!(
                "SKIPPED: the assets of the demo are absent; run `cargo xtask assets` and set BLIP2_HOME"
            );
            return None;
        };
        let folder = tempfile::tempdir().expect("folder");
        let read =
            |name: &str| fs::read_to_string(Path::new(ROOT).join("recipes/mini").join(name)).expect("a file");
        let world = read("world.toml").replace("scenes = 2400", "scenes = 300");
        let place = folder.path().join("world.toml");
        fs::write(&place, world).expect("writing");
        let scenes = read("scenes.toml").replace("recipes/mini/world.toml", &place.to_string_lossy());
        let stage1 = &scenes[..scenes.find("[stage2]").expect("stage 2")];
        fs::write(folder.path().join("recipe.toml"), stage1).expect("writing");
        Some(Self {
            home,
            folder,
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The words that train into the run `name`.
    pub(crate) fn words(&self, name: &str, more: &[&str]) -> Vec<String> {
        let recipe = self.folder.path().join("recipe.toml");
        let run = self.run(name);
        let named = [
            "pretrain",
            "--recipe",
            &recipe.to_string_lossy(),
            "--run",
            &run.to_string_lossy(),
        ];
        let settings = SMALL.iter().flat_map(|setting| ["--set", setting]);
        let words = [PROGRAM]
            .into_iter()
            .chain(named)
            .chain(settings)
            .chain(more.iter().copied());
        words.map(str::to_owned).collect()
    }

    /// Starts a job of `programs`: how many processes, and the words of each.
    pub(crate) fn start(&self, programs: &[(usize, Vec<String>)]) -> Job {
        let mut command = Command::new("mpirun");
        command
            .env("BLIP2_HOME", &self.home)
            .env("RAYON_NUM_THREADS", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
            .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
            .args(["--oversubscribe", "--bind-to", "none"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (number, (ranks, words)) in programs.iter().enumerate() {
            if number > 0 {
                command.arg(":");
            }
            command.args(["-n", &ranks.to_string()]).args(words);
        }
        Job(command.spawn().expect("mpirun starts"))
    }

    /// Trains to the end on `ranks` processes.
    pub(crate) fn finish(&self, name: &str, ranks: usize, more: &[&str]) {
        let output = self.start(&[(ranks, self.words(name, more))]).end(PATIENCE);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Lines of the log that a step has written.
    pub(crate) fn lines(&self, name: &str) -> Vec<Map<String, Value>> {
        let text = fs::read_to_string(self.run(name).join("metrics.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Map<_, _>>(line).ok());
        lines.filter(|line| line.contains_key("loss")).collect()
    }

    /// The loss of each step; each step is there once.
    pub(crate) fn losses(&self, name: &str) -> BTreeMap<u64, f64> {
        let lines = self.lines(name);
        let number = |line: &Map<String, Value>| {
            (
                line["step"].as_u64().expect("a step"),
                line["loss"].as_f64().expect("a loss"),
            )
        };
        let losses: BTreeMap<_, _> = lines.iter().map(number).collect();
        assert_eq!(losses.len(), lines.len(), "a step was logged twice");
        losses
    }
}

/// What a job has told.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) struct Job(Child);

impl Job {
    /// Waits until the run `name` has logged `step`.
    pub(crate) fn reach(&mut self, jobs: &Jobs, name: &str, step: u64) {
        let begun = Instant::now();
        while !jobs.lines(name).iter().any(|line| line["step"] == step) {
            let ended = self.0.try_wait().expect("a job");
            assert!(ended.is_none(), "the job ended before step {step}");
            assert!(begun.elapsed() < PATIENCE, "step {step} was not reached");
            sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the process that is rank `rank` of the run `name`.
    pub(crate) fn signal(&self, jobs: &Jobs, name: &str, rank: usize, signal: &str) {
        let (run, variable) = (jobs.run(name), format!("OMPI_COMM_WORLD_RANK={rank}"));
        let run = run.to_string_lossy().into_owned();
        let is_it = |process: &Path| {
            let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
            let holds = |bytes: Vec<u8>, word: &str| {
                bytes
                    .split(|byte| *byte == 0)
                    .any(|found| found == word.as_bytes())
            };
            holds(read("cmdline"), &run) && holds(read("environ"), &variable)
        };
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let found = processes.map(|entry| entry.path()).find(|process| is_it(process));
        let process = found.unwrap_or_else(|| panic!("rank {rank} does not run"));
        let number = process.file_name().expect("a number").to_owned();
        let sent = Command::new("kill")
            .arg(signal)
            .arg(number)
            .status()
            .expect("kill starts");
        assert!(sent.success());
    }

    /// What the job tells once it has ended, which it must do within `limit`.
    pub(crate) fn end(mut self, limit: Duration) -> Output {
        let begun = Instant::now();
        while self.0.try_wait().expect("a job").is_none() {
            if begun.elapsed() > limit {
                // mpirun takes its processes with it.
                let _ = Command::new("kill").arg(self.0.id().to_string()).status();
                let output = self.0.wait_with_output().expect("a job");
                panic!("the job did not end within {limit:?}: {}", said(&output));
            }
            sleep(Duration::from_millis(20));
        }
        self.0.wait_with_output().expect("a job")
    }
}
