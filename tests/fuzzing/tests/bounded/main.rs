//! A bounded loop of what `cargo fuzz` does without end, on any compiler: good files are damaged by a seeded generator, and no reader
//! may panic, hang, or take more than 64 MB of the heap.
//!
//! `BLIP2_FUZZ_INPUTS=N` makes up so many inputs for each reader in place of 100, `BLIP2_FUZZ_SEED=N` others. What breaks a reader is
//! kept as `fuzzing/READER.input` in cargo's folder for what tests write, to become a test.

mod made;
#[path = "../../../attacks/meter.rs"]
mod meter;
mod mutate;
mod seeds;
mod watch;

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blip2_fuzzing::{TARGETS, Target};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use mutate::damage;
use watch::Watch;

const INPUTS: u64 = 100;

fn number(variable: &str, otherwise: u64) -> u64 {
    let given = env::var(variable).ok();
    given.map_or(otherwise, |given| given.parse().expect("a number"))
}

/// Where the input under way is kept, for what ends the process cannot be caught.
fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzzing");
    fs::create_dir_all(&folder).expect("a folder");
    folder.join(format!("{name}.input"))
}

/// Reads the good files of a reader as they are, and what broke it the last time, then damaged ones.
fn bounded(name: &str, read: Target) {
    let seeds = seeds::of(name);
    assert!(!seeds.is_empty(), "{name} has no good files to begin with");
    let inputs = number("BLIP2_FUZZ_INPUTS", INPUTS);
    let mut random = ChaCha8Rng::seed_from_u64(number("BLIP2_FUZZ_SEED", 1));
    let kept = kept(name);
    let whole: Vec<Vec<u8>> = seeds.iter().cloned().chain(fs::read(&kept).ok()).collect();
    let watch = Watch::over(name, &kept);
    for input in 0..whole.len() as u64 + inputs {
        let whole = whole.get(input as usize).cloned();
        let data = whole.unwrap_or_else(|| damage(&seeds, &mut random));
        fs::write(&kept, &data).expect("a disk with room");
        watch.begin();
        let outcome = catch_unwind(AssertUnwindSafe(|| meter::frugal(name, || read(&data))));
        watch.end();
        assert!(outcome.is_ok(), "input {input} breaks {name}: {}", kept.display());
    }
    fs::remove_file(&kept).expect("what was written");
}

/// A test for each target, and none without.
macro_rules! readers {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            bounded(stringify!($name), blip2_fuzzing::$name);
        })*

        #[test]
        fn every_reader_is_tried_here_and_by_cargo_fuzz() {
            let names = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, all[..]);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
            let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
            for name in all {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no target there");
                assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
            }
        }
    };
}

readers! {
    annotations configurations features gguf onnx parquet pickles pictures recipes results safetensors sentencepiece shard_index
    shards tables tokenizer_json vocabularies
}
