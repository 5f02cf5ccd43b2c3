//! Number formats that are chosen by the file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use blip2_core::weights::{SafetensorsStore, TensorStore, write_safetensors};
use blip2_golden::fixture;
use burn::tensor::DType;
use tempfile::TempDir;

use crate::support::stderr;

/// A folder like `name` of the golden ones, whose weights are in the format that `dtype` gives to their names.
fn converted(name: &str, dtype: impl Fn(&str) -> DType) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let file = folder.path().join("model.safetensors");
    let store = SafetensorsStore::open(&file).unwrap();
    let tensors: Vec<_> = store
        .tensors()
        .keys()
        .map(|name| (name.clone(), store.read(name).unwrap().convert_dtype(dtype(name))))
        .collect();
    drop(store);
    write_safetensors(&file, &tensors, HashMap::new()).unwrap();
    folder
}

fn run(folder: &Path, command: &str, extra: &[&str]) -> Output {
    let picture = fixture("hf/opt-tiny/image1.png");
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args([command, "--model"])
        .arg(folder)
        .arg(picture)
        .args(extra)
        .env("BLIP2_HOME", folder)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn said(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", stderr(output));
    stderr(output)
        .lines()
        .map(str::to_owned)
        .filter(|line| line.contains("dtype"))
        .collect()
}

/// Asserts that the number format of `folder` is said to be `format`, and that it is used.
fn assert_chosen(folder: &Path, format: &str) {
    let options = ["--json", "--max-new-tokens", "6"];
    let chosen = run(folder, "caption", &options);
    let lines = said(&chosen);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(&format!("dtype {format}")) && lines[0].contains("language model"),
        "{lines:?}"
    );
    let given = run(folder, "caption", &[&options[..], &["--dtype", format]].concat());
    assert_eq!(said(&given), [""; 0]);
    assert_eq!(chosen.stdout, given.stdout);
}

#[test]
fn a_file_of_half_precision_is_held_as_it_is() {
    for name in ["hf/opt-tiny", "hf/flant5-tiny"] {
        for dtype in [DType::F16, DType::BF16] {
            assert_chosen(converted(name, |_| dtype).path(), "bf16");
        }
        assert_chosen(&fixture(name), "f32");
    }
    let full = run(&fixture("hf/opt-tiny"), "caption", &["--json"]);
    let half = run(
        converted("hf/opt-tiny", |_| DType::F16).path(),
        "caption",
        &["--json"],
    );
    assert_ne!(full.stdout, half.stdout, "it is not rounded");
}

#[test]
fn in_a_mixed_file_the_language_model_decides() {
    let language = |name: &str| name.starts_with("language_model.");
    let half = |is: bool| if is { DType::BF16 } else { DType::F32 };
    assert_chosen(
        converted("hf/opt-tiny", |name| half(language(name))).path(),
        "bf16",
    );
    assert_chosen(
        converted("hf/opt-tiny", |name| half(!language(name))).path(),
        "f32",
    );
    // Norms in single precision are few bytes.
    let matrices = converted("hf/opt-tiny", |name| {
        half(language(name) && !name.contains("norm"))
    });
    assert_chosen(matrices.path(), "bf16");
}

#[test]
fn without_a_language_model_most_of_the_file_decides() {
    let folder = converted("hf/itm-tiny", |_| DType::F16);
    let options = ["--text", "a dog", "--json"];
    let chosen = run(folder.path(), "match", &options);
    let lines = said(&chosen);
    assert!(lines.len() == 1 && lines[0].contains("dtype bf16"), "{lines:?}");
    assert!(!lines[0].contains("language model"), "{lines:?}");
    let given = run(
        folder.path(),
        "match",
        &[&options[..], &["--dtype", "bf16"]].concat(),
    );
    assert_eq!(chosen.stdout, given.stdout);
}
