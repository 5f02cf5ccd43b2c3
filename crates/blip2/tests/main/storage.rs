//! The same model from one file or several, in any number format.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use blip2::{ModelConfig, StoredWeights, save_pretrained};
use blip2_core::Initializer;
use blip2_core::weights::{SafetensorsStore, TensorStore, write_pytorch, write_safetensors};
use blip2_golden::{device, fixture};
use blip2_qformer::Bridge;
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

#[test]
fn frozen_models_in_files_of_torch_are_counted_too() {
    let config: ModelConfig = serde_json::from_value(json!({
        "encoder": {"path": "encoder", "image_size": 28},
        "language_model": {"path": "language-model", "prompt": "", "question_prompt": "{}"},
        "representation": {"embedding_size": 4, "vision_layer_norm_eps": 1e-5, "qformer": {
            "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
            "max_position_embeddings": 10, "encoder_hidden_size": 12, "num_query_tokens": 3,
        }},
        "vocabulary": "vocab.txt", "max_text_tokens": 10,
    }))
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut values = Vec::new();
    for (folder, golden) in [("encoder", "parts/dinov2"), ("language-model", "parts/opt")] {
        let store = SafetensorsStore::open(&fixture(golden)).unwrap();
        let count: usize = store
            .tensors()
            .values()
            .map(|info| info.shape.iter().product::<usize>())
            .sum();
        values.push(4 * count as u64);
        fs::create_dir(home.path().join(folder)).unwrap();
        write_pytorch(
            &home.path().join(folder).join("pytorch_model.bin"),
            "model",
            &store,
        )
        .unwrap();
    }
    let initializer = &mut Initializer::new(0, &device());
    let bridge = Bridge::new(initializer, &config.representation.qformer, 1e-6, 24).unwrap();
    let folder = home.path().join("trained");
    save_pretrained(&folder, &config, None, Some(&bridge)).unwrap();
    let [vision, language] = StoredWeights::of(&folder, home.path()).unwrap().bytes(None);
    assert!(
        vision > values[0],
        "{vision} bytes for an encoder of {}",
        values[0]
    );
    assert_eq!(language, values[1]);
}
