//! The same model from one file or several, in any number format.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore, write_safetensors};
use blip2_golden::fixture;
use burn::tensor::{DType, TensorData};
use serde_json::{Value, json};

use crate::support::{copy, load, picture};

/// Replaces the weights in `folder` by `shards` files and an index, each tensor as `change` gives it.
fn rewrite(folder: &Path, shards: usize, change: impl Fn(TensorData) -> TensorData) {
    let store = SafetensorsStore::open(folder).unwrap();
    let tensors: Vec<(String, TensorData)> = store
        .tensors()
        .keys()
        .map(|name| (name.clone(), change(store.read(name).unwrap())))
        .collect();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let mut map = BTreeMap::new();
    for shard in 0..shards {
        let file = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let part: Vec<_> = tensors.iter().skip(shard).step_by(shards).cloned().collect();
        write_safetensors(&folder.join(&file), &part, HashMap::new()).unwrap();
        map.extend(part.into_iter().map(|(name, _)| (name, file.clone())));
    }
    let index = json!({"metadata": {}, "weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

fn trace(folder: &Path) -> Vec<(String, TensorData)> {
    let picture = picture(folder, &Value::from("image1.png"));
    load(folder).unwrap().trace(&picture, "a photo of").unwrap()
}

#[test]
fn shards_are_one_model() {
    for name in ["hf/opt-tiny", "hf/flant5-tiny"] {
        let folder = copy(&fixture(name));
        let whole = trace(folder.path());
        rewrite(folder.path(), 3, |data| data);
        assert!(trace(folder.path()) == whole, "{name}: shards change the model");
    }
}

#[test]
fn half_precision_loses_no_more_than_its_rounding() {
    for format in [DType::F16, DType::BF16] {
        let half = copy(&fixture("hf/opt-tiny"));
        rewrite(half.path(), 1, |data| data.convert_dtype(format));
        let rounded = copy(&fixture("hf/opt-tiny"));
        rewrite(rounded.path(), 1, |data| {
            data.convert_dtype(format).convert_dtype(DType::F32)
        });
        let whole = trace(half.path());
        assert!(
            whole == trace(rounded.path()),
            "{format:?} is not what its rounding in f32 is"
        );
        assert!(whole.iter().all(|(_, data)| data.dtype() == DType::F32));
    }
}
