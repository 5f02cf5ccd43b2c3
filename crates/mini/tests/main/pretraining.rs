//! Emoji scenes as a data set like any other: drawn in memory or read from shards, encoded live or stored, a run is the same.
//!
//! Needs the assets of the demo: `cargo xtask test` provides them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blip2_distributed::{Communicator, Threads, WATCHDOG};
use blip2_mini::{SceneDataset, Shown, World, formats, registry, write_shards};
use blip2_trainer::{Observer, PretrainOptions, pretrain};
use burn::tensor::Device;
use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A run of seconds: small pictures, few steps, everything in single precision.
const SMALL: [&str; 5] = [
    "encoder.image_size=56",
    "stage1.steps=4",
    "stage1.batch=6",
    "stage1.precision=f32",
    "stage1.log_every=1",
];
const SMALL_STAGE2: [&str; 5] = [
    "stage2.steps=2",
    "stage2.batch=4",
    "stage2.precision=f32",
    "stage2.log_every=1",
    "bridge.projection=pytorch",
];

struct Nobody;

impl Observer for Nobody {
    fn phase(&self, _: &str, _: u64) {}
    fn step(&self, _: u64, _: &str) {}
    fn note(&self, _: &str) {}
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn home() -> Option<PathBuf> {
    let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
    let found = home.filter(|home| home.join("assets/smollm2").is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: the assets of the demo are absent; run `cargo xtask assets` and set BLIP2_HOME");
    }
    found
}

/// The recipe of the scenes on sixty of them, with only the stages `kept` of it.
fn recipe(folder: &Path, kept: &[&str]) -> PathBuf {
    let read =
        |name: &str| fs::read_to_string(Path::new(ROOT).join("recipes/mini").join(name)).expect("a file");
    let world = read("world.toml")
        .replace("scenes = 2400", "scenes = 60")
        .replace("shard = 256", "shard = 25");
    fs::write(folder.join("world.toml"), world).expect("writing");
    let mut text = read("scenes.toml").replace(
        "recipes/mini/world.toml",
        &folder.join("world.toml").to_string_lossy(),
    );
    let stage2 = text.split_off(text.find("[stage2]").expect("stage 2"));
    let stage1 = text.split_off(text.find("[stage1]").expect("stage 1"));
    for (name, section) in [("stage1", stage1), ("stage2", stage2)] {
        if kept.contains(&name) {
            text += &section;
        }
    }
    let path = folder.join("recipe.toml");
    fs::write(&path, text).expect("writing");
    path
}

/// A line of the log: phase, step and all figures that the run decides, by name.
type Line = (String, u64, BTreeMap<String, f64>);

struct Runs {
    home: PathBuf,
    folder: TempDir,
}

impl Runs {
    fn new() -> Option<Self> {
        Some(Self {
            home: home()?,
            folder: tempfile::tempdir().expect("folder"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A run called `name` of the stages `kept`.
    fn run(&self, name: &str, kept: &[&str], overrides: &[String]) -> Vec<Line> {
        let recipe = recipe(self.folder.path(), kept);
        self.train(name, kept, overrides, recipe, Communicator::alone());
        self.lines(name)
    }

    fn train(&self, name: &str, kept: &[&str], overrides: &[String], recipe: PathBuf, ranks: &Communicator) {
        let small = [("stage1", SMALL), ("stage2", SMALL_STAGE2)];
        let small = small
            .iter()
            .filter(|(stage, _)| kept.contains(stage))
            .flat_map(|(_, small)| small);
        let always = ["encoder.image_size=56".to_owned()];
        let overrides = small
            .map(|text| (*text).to_owned())
            .chain(always)
            .chain(overrides.iter().cloned());
        let options = PretrainOptions {
            recipe,
            overrides: overrides.collect(),
            run: self.path(name),
            resume: false,
            home: self.home.clone(),
            registry: registry(),
            formats: formats(&self.home),
            device: Device::flex(),
        };
        pretrain(options, ranks, &Nobody).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }

    fn lines(&self, name: &str) -> Vec<Line> {
        let log = fs::read_to_string(self.path(name).join("metrics.jsonl")).expect("a log");
        log.lines().filter_map(decided).collect()
    }
}

fn decided(line: &str) -> Option<Line> {
    const MEASURED: [&str; 5] = ["step", "seconds", "samples_per_second", "data_wait", "memory_mb"];
    let line: Value = serde_json::from_str(line).expect("JSON");
    let (phase, step) = (line["phase"].as_str()?.to_owned(), line["step"].as_u64()?);
    let figures = line.as_object()?.iter();
    let figures = figures.filter(|(name, _)| !MEASURED.contains(&name.as_str()));
    let figures = figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    Some((phase, step, figures.collect()))
}

#[test]
fn memory_and_shards_and_any_number_of_threads_give_the_same_run() {
    let Some(runs) = Runs::new() else { return };
    let in_memory = runs.run("memory", &["stage1"], &["loader.threads=1".to_owned()]);
    assert_eq!(in_memory.len(), 4, "{in_memory:?}");
    assert!(
        in_memory.iter().all(|(_, _, figures)| figures.len() >= 8),
        "{in_memory:?}"
    );

    let world = World::read(&runs.path("world.toml")).expect("a world");
    let set = SceneDataset::new("scenes".to_owned(), world, Shown::TRAINING, &runs.home).expect("scenes");
    assert_eq!(write_shards(&set, &runs.path("shards")).expect("shards"), 60);
    let shards = format!("data.0.path={}", runs.path("shards/{00000..00002}.tar").display());
    for threads in [1, 2, 5] {
        let overrides = [
            "data.0.format=webdataset".to_owned(),
            shards.clone(),
            format!("loader.threads={threads}"),
        ];
        let from_shards = runs.run(&format!("shards{threads}"), &["stage1"], &overrides);
        assert_eq!(from_shards, in_memory, "{threads} threads");
    }
}

#[test]
fn live_and_stored_features_are_equal_within_half_precision() {
    let Some(runs) = Runs::new() else { return };
    let live = runs.run("live", &["stage1"], &[]);
    let stored = runs.run("stored", &["stage1"], &["features=stored".to_owned()]);
    for ((_, step, live), (_, _, stored)) in live.iter().zip(&stored) {
        for name in ["itc", "itm", "itg"] {
            let (live, stored) = (live[name], stored[name]);
            assert!(
                (live - stored).abs() < 2e-3 * live,
                "step {step}, {name}: {live} and {stored}"
            );
        }
    }
    assert_ne!(live, stored, "nothing was rounded");
}

#[test]
fn parts_of_a_batch_have_the_contrast_of_the_whole() {
    let Some(runs) = Runs::new() else { return };
    let whole = runs.run("whole", &["stage1"], &["stage1.itg_mean=global".to_owned()]);
    let cut = ["stage1.itg_mean=global".to_owned(), "stage1.parts=3".to_owned()];
    let cut = runs.run("parts", &["stage1"], &cut);
    // Later steps have other negatives: each part draws its own.
    let ((_, _, whole), (_, _, cut)) = (&whole[0], &cut[0]);
    for name in ["itc", "itg"] {
        assert!(
            (whole[name] - cut[name]).abs() < 1e-5 * whole[name],
            "{name}: {} and {}",
            whole[name],
            cut[name]
        );
    }
    let without = runs.run(
        "without",
        &["stage1"],
        &["stage1.weights={ itg = 0.0 }".to_owned()],
    );
    assert!(
        without.iter().all(|(_, _, figures)| !figures.contains_key("itg")),
        "{without:?}"
    );
}

#[test]
fn ranks_store_features_and_train_and_measure_as_one_process() {
    let Some(mut runs) = Runs::new() else { return };
    // Nobody has stored features in this home yet.
    let home = runs.path("home");
    fs::create_dir(&home).expect("a folder");
    std::os::unix::fs::symlink(runs.home.join("assets"), home.join("assets")).expect("a link");
    runs.home = home;
    let held_out = format!(
        "evaluation=[{{ name = \"held-out\", every = 2, batches = 3, data = {{ format = \"scenes\", path = '{}' }} }}]",
        runs.path("world.toml").display()
    );
    let together = ["features=stored", "stage1.parts=3", "stage1.deterministic=true"].map(str::to_owned);
    let together = [&together[..], &[held_out]].concat();
    let recipe = recipe(runs.folder.path(), &["stage1"]);
    let stored = |name: &str| {
        let folder = runs.home.join("features");
        let files = fs::read_dir(&folder)
            .expect("a folder")
            .map(|file| file.expect("a file").path());
        let files: Vec<Vec<u8>> = files.map(|file| fs::read(file).expect("features")).collect();
        assert_eq!(files.len(), 1, "{name}");
        fs::remove_dir_all(folder).expect("a folder");
        files
    };
    Threads::run(3, WATCHDOG, |ranks| {
        runs.train("three", &["stage1"], &together, recipe.clone(), &ranks);
    });
    let by_three = stored("three");
    runs.train(
        "one",
        &["stage1"],
        &together,
        recipe.clone(),
        Communicator::alone(),
    );
    assert!(by_three == stored("one"), "features differ");
    assert_eq!(runs.lines("three"), runs.lines("one"));
    let held_out = |name: &str| -> Vec<Value> {
        let log = fs::read_to_string(runs.path(name).join("metrics.jsonl")).expect("a log");
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines
            .map(|line| line["held-out"].clone())
            .filter(|figures| figures.is_object())
            .collect()
    };
    assert_eq!(held_out("three").len(), 2);
    assert_eq!(held_out("three"), held_out("one"));
    let weights =
        |name: &str| fs::read(runs.path(name).join("model/representation.safetensors")).expect("a model");
    assert!(weights("three") == weights("one"), "models differ");
}

#[test]
fn stage_2_alone_goes_on_where_stage_1_ended() {
    let Some(runs) = Runs::new() else { return };
    let held_out = format!(
        "evaluation=[{{ name = \"held-out\", every = 2, batches = 1, data = {{ format = \"scenes\", path = '{}' }} }}]",
        runs.path("world.toml").display()
    );
    let both = runs.run("both", &["stage1", "stage2"], &[held_out]);
    let of_stage2 = |lines: Vec<Line>| -> Vec<Line> {
        lines
            .into_iter()
            .filter(|(phase, _, figures)| phase == "stage2" && figures.contains_key("lm"))
            .collect()
    };
    let from = format!("stage2.from={}", runs.path("both").display());
    let alone = runs.run("alone", &["stage2"], std::slice::from_ref(&from));
    assert_eq!(of_stage2(alone.clone()), of_stage2(both));
    assert_eq!(of_stage2(alone.clone()).len(), 2);
    let prefix = runs.run(
        "prefix",
        &["stage2"],
        &[from, "stage2.prefix_language_modelling=true".to_owned()],
    );
    assert_ne!(of_stage2(prefix), of_stage2(alone));

    let log = fs::read_to_string(runs.path("both/metrics.jsonl")).expect("a log");
    let evaluated: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let evaluated: Vec<_> = evaluated
        .iter()
        .filter(|line| line["held-out"]["loss"].as_f64().is_some_and(|loss| loss > 0.0))
        .map(|line| {
            (
                line["phase"].as_str().unwrap_or_default(),
                line["step"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    assert_eq!(evaluated, [("stage1", 2), ("stage1", 4), ("stage2", 2)]);
}
