//! Folders of shards: read as one store, and each way in which an index can lie.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore, WeightError, write_safetensors};
use burn::tensor::TensorData;

const INDEX: &str = "model.safetensors.index.json";

fn shard(folder: &Path, file: &str, name: &str, value: f32) {
    let tensors = [(name.to_owned(), TensorData::new(vec![value], [1]))];
    write_safetensors(&folder.join(file), &tensors, HashMap::new()).expect("writing");
}

fn index(folder: &Path, entries: &[(&str, &str)]) {
    let map: HashMap<_, _> = entries.iter().copied().collect();
    let text = serde_json::json!({ "weight_map": map }).to_string();
    fs::write(folder.join(INDEX), text).expect("writing");
}

/// The message with which a folder of two shards `a` and `b` is refused after `change`.
fn refusal(change: impl FnOnce(&Path)) -> (WeightError, String) {
    let folder = tempfile::tempdir().expect("folder");
    shard(folder.path(), "a.safetensors", "first", 1.0);
    shard(folder.path(), "b.safetensors", "second", 2.0);
    index(
        folder.path(),
        &[("first", "a.safetensors"), ("second", "b.safetensors")],
    );
    change(folder.path());
    let error = SafetensorsStore::open(folder.path()).err().expect("a refusal");
    let text = error.to_string();
    (error, text)
}

#[test]
fn shards_are_one_store() {
    let folder = tempfile::tempdir().expect("folder");
    shard(folder.path(), "a.safetensors", "first", 1.0);
    shard(folder.path(), "b.safetensors", "second", 2.0);
    index(
        folder.path(),
        &[("first", "a.safetensors"), ("second", "b.safetensors")],
    );
    let store = SafetensorsStore::open(folder.path()).expect("opening");
    for (name, value) in [("first", 1.0), ("second", 2.0)] {
        assert_eq!(
            store.read(name).expect("reading").as_slice::<f32>().expect("f32"),
            [value]
        );
    }
}

#[test]
fn an_index_that_points_out_of_its_folder_is_refused() {
    let outside = tempfile::tempdir().expect("folder");
    shard(outside.path(), "b.safetensors", "second", 2.0);
    let absolute = outside.path().join("b.safetensors");
    for target in [
        "../b.safetensors",
        "sub/../../b.safetensors",
        "..",
        "",
        absolute.to_str().expect("plain path"),
    ] {
        let (error, text) =
            refusal(|folder| index(folder, &[("first", "a.safetensors"), ("second", target)]));
        assert!(
            matches!(&error, WeightError::Format { path, .. } if path.ends_with(INDEX)),
            "{target}: {text}"
        );
        assert!(text.contains(&format!("`{target}`")), "{text}");
    }
}

#[test]
fn a_missing_shard_is_named() {
    let (error, text) = refusal(|folder| fs::remove_file(folder.join("b.safetensors")).expect("removing"));
    assert!(matches!(error, WeightError::Io { .. }), "{text}");
    assert!(text.contains("b.safetensors"), "{text}");
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let (error, text) = refusal(|folder| shard(folder, "b.safetensors", "first", 3.0));
    assert!(matches!(error, WeightError::Format { .. }), "{text}");
    assert!(
        text.contains("`first`") && text.contains("b.safetensors"),
        "{text}"
    );
}

#[test]
fn an_index_that_is_no_index_is_refused() {
    for text in [
        "",
        "{",
        "[]",
        r#"{"weight_map": {"first": 1}}"#,
        r#"{"metadata": {}}"#,
    ] {
        let (error, message) = refusal(|folder| fs::write(folder.join(INDEX), text).expect("writing"));
        assert!(
            matches!(&error, WeightError::Format { path, .. } if path.ends_with(INDEX)),
            "{text}: {message}"
        );
    }
    let (error, message) = refusal(|folder| fs::remove_file(folder.join(INDEX)).expect("removing"));
    assert!(
        matches!(error, WeightError::Io { .. }) && message.contains(INDEX),
        "{message}"
    );
}
