//! A `model.safetensors.index.json` that points elsewhere, at nothing, or twice.

use std::fs;
use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_vision_encoder::VisionTransformer;
use burn::tensor::Device;
use serde_json::json;
use tempfile::TempDir;

use crate::meter::frugal;
use crate::{chain, copy};

const INDEX: &str = "model.safetensors.index.json";
const SHARD: &str = "model-00001-of-00001.safetensors";

/// A model whose weights lie in one shard; every tensor's name.
fn sharded() -> (TempDir, Vec<String>) {
    let folder = copy("parts/dinov2");
    let single = folder.path().join("model.safetensors");
    let store = SafetensorsStore::open(&single).expect("weights");
    let names: Vec<String> = store.tensors().keys().cloned().collect();
    fs::rename(&single, folder.path().join(SHARD)).expect("renaming");
    write(folder.path(), &names, |_| SHARD);
    (folder, names)
}

fn write<'a>(folder: &Path, names: &'a [String], shard: impl Fn(&'a str) -> &'a str) {
    let map: serde_json::Map<_, _> = names
        .iter()
        .map(|name| (name.clone(), json!(shard(name))))
        .collect();
    fs::write(folder.join(INDEX), json!({ "weight_map": map }).to_string()).expect("writing");
}

/// What the model is refused with, which names the index.
fn refusal(folder: &Path) -> String {
    let loaded = frugal("an index", || {
        VisionTransformer::from_hugging_face(folder, &Device::flex())
    });
    let error = loaded.map(|_| ()).expect_err("a false index");
    chain(&error)
}

#[test]
fn an_honest_index_is_followed() {
    let (folder, _) = sharded();
    assert!(VisionTransformer::from_hugging_face(folder.path(), &Device::flex()).is_ok());
}

#[test]
fn a_shard_outside_of_the_folder_is_refused() {
    let (folder, names) = sharded();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let outside = elsewhere.path().join(SHARD);
    fs::copy(folder.path().join(SHARD), &outside).expect("a copy");
    let up = format!(
        "../{}/{SHARD}",
        elsewhere.path().file_name().expect("a name").display()
    );
    for target in [
        up.as_str(),
        outside.to_str().expect("a plain path"),
        "..",
        ".",
        "/",
    ] {
        write(folder.path(), &names, |_| target);
        let message = refusal(folder.path());
        assert!(
            message.contains(INDEX) && message.contains(&format!("`{target}`")),
            "{message}"
        );
    }
}

#[test]
fn a_missing_shard_is_named() {
    let (folder, names) = sharded();
    write(folder.path(), &names, |name| match *name == names[0] {
        true => "model-00002-of-00002.safetensors",
        false => SHARD,
    });
    let message = refusal(folder.path());
    assert!(message.contains("model-00002-of-00002.safetensors"), "{message}");
}

#[test]
fn a_tensor_that_stands_in_the_index_twice_is_refused() {
    let (folder, names) = sharded();
    let entries: Vec<String> = names
        .iter()
        .chain(&names[..1])
        .map(|name| format!("{}:\"{SHARD}\"", json!(name)))
        .collect();
    let text = format!("{{\"weight_map\":{{{}}}}}", entries.join(","));
    fs::write(folder.path().join(INDEX), text).expect("writing");
    let message = refusal(folder.path());
    assert!(
        message.contains(INDEX) && message.contains(&names[0]),
        "{message}"
    );
}

#[test]
fn a_tensor_that_stands_in_two_shards_is_refused() {
    let (folder, names) = sharded();
    let second = "model-00002-of-00002.safetensors";
    fs::copy(folder.path().join(SHARD), folder.path().join(second)).expect("a copy");
    write(folder.path(), &names, |name| {
        if *name == names[0] { second } else { SHARD }
    });
    let message = refusal(folder.path());
    assert!(
        message.contains(second) && message.contains("two shards"),
        "{message}"
    );
}

#[test]
fn a_folder_in_place_of_a_shard_and_a_shard_that_is_an_index_are_refused() {
    let (folder, names) = sharded();
    fs::create_dir(folder.path().join("inner")).expect("a folder");
    for target in ["inner", INDEX, "config.json"] {
        write(folder.path(), &names, |_| target);
        let message = refusal(folder.path());
        assert!(message.contains(target), "{message}");
    }
}
