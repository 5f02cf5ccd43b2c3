//! Good files to begin with: those of the golden data, and small ones of the formats that it has none of.

use std::fs;
use std::path::{Path, PathBuf};

use blip2_golden::fixture;

use crate::made;

/// Larger files make slow inputs, and what is in them is in smaller ones as well.
const LARGEST: u64 = 64 << 10;

/// Good files for the reader `name`.
pub(crate) fn of(name: &str) -> Vec<Vec<u8>> {
    let golden = |folder: &str, endings: &[&str]| below(&fixture(folder), endings);
    let crates = |folder: &str, endings: &[&str]| {
        below(
            &Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../crates")
                .join(folder),
            endings,
        )
    };
    match name {
        "annotations" => golden("data", &["json"]),
        "configurations" => golden("", &["config.json", "cases.json", "stats.json"]),
        "features" => vec![made::features()],
        "gguf" => [crates("core/src", &["gguf"]), made::ggufs()].concat(),
        "onnx" => vec![made::onnx()],
        "parquet" => golden("data", &["parquet"]),
        "pickles" => vec![made::pickle()],
        "pictures" => golden("pictures", &["avif", "bmp", "gif", "jpg", "png", "tif", "webp"]),
        "recipes" => below(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes"),
            &["toml"],
        ),
        "results" => golden("data", &["json"]),
        "safetensors" => golden("", &["safetensors"]),
        "sentencepiece" => crates("llm-adapters/tests/data", &["model"]),
        "shard_index" => vec![br#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#.to_vec()],
        "shards" => golden("data", &["tar", "tar.gz"]),
        "tables" => golden("data", &["csv", "tsv", "jsonl", "token"]),
        "tokenizer_json" => golden("", &["tokenizer.json"]),
        "vocabularies" => [golden("", &["vocab.txt"]), vec![made::byte_pairs()]].concat(),
        other => panic!("nobody knows what {other} reads"),
    }
}

/// The files below `folder` whose names have one of the `endings`, in the order of their paths.
fn below(folder: &Path, endings: &[&str]) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    paths.retain(|path| {
        let name = path.to_string_lossy();
        endings.iter().any(|ending| name.ends_with(ending))
    });
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a golden file"))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a golden folder") {
        let entry = entry.expect("an entry");
        let about = entry.metadata().expect("an entry");
        if about.is_dir() {
            collect(&entry.path(), paths);
        } else if about.len() <= LARGEST {
            paths.push(entry.path());
        }
    }
}
