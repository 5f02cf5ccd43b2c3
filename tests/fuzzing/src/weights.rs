//! Files of weights, each tensor of them.

use std::path::Path;

use blip2_core::weights::{
    GgufStore, OnnxStore, PytorchStore, SafetensorsStore, TensorStore, WeightError, write_safetensors,
};
use blip2_data::features::FeatureStore;
use blip2_llm_adapters::{Gemma3Config, LanguageTokenizer, LlamaConfig, load_language_model};
use burn::tensor::{Device, TensorData};

use crate::in_folder;
use crate::texts::TEXT;

/// The content key that stored features are asked for by.
pub const FEATURES_KEY: &str = "key";

/// Reads all that a store says that it has.
fn read_all(store: Result<impl TensorStore, WeightError>) {
    if let Ok(store) = store {
        for name in store.tensors().keys() {
            // An error is as good as values here.
            let _ = store.read(name);
        }
    }
}

/// `model.safetensors`.
pub fn safetensors(data: &[u8]) {
    in_folder(&[("model.safetensors", data)], |folder| {
        read_all(SafetensorsStore::open(&folder.join("model.safetensors")));
    });
}

/// `model.safetensors.index.json` beside two shards.
pub fn shard_index(data: &[u8]) {
    in_folder(&[("model.safetensors.index.json", data)], |folder| {
        for (shard, tensor) in [("one.safetensors", "a"), ("two.safetensors", "b")] {
            let tensors = [(tensor.to_owned(), TensorData::from([1.0_f32, 2.0]))];
            write_safetensors(&folder.join(shard), &tensors, Default::default()).expect("a disk with room");
        }
        read_all(SafetensorsStore::open(folder));
    });
}

/// What `torch.save` writes.
pub fn pickles(data: &[u8]) {
    in_folder(&[("model.pth", data)], |folder| {
        read_all(PytorchStore::open(&folder.join("model.pth")));
    });
}

/// A GGUF file, as a store and as a language model with its tokenizer.
pub fn gguf(data: &[u8]) {
    in_folder(&[("model.gguf", data)], |folder| {
        let path = folder.join("model.gguf");
        if let Ok(store) = GgufStore::open(&path) {
            let _ = LlamaConfig::from_gguf(&store);
            let _ = Gemma3Config::from_gguf(&store);
            if let Ok(tokenizer) = LanguageTokenizer::from_gguf(&store) {
                let _ = tokenizer.encode_prompt(TEXT);
            }
            read_all(Ok(store));
        }
        let _ = load_language_model(&path, &Device::flex());
    });
}

/// The weights in an ONNX file.
pub fn onnx(data: &[u8]) {
    in_folder(&[("model.onnx", data)], |folder| {
        read_all(OnnxStore::open(&folder.join("model.onnx")));
    });
}

/// A file of stored features.
pub fn features(data: &[u8]) {
    in_folder(&[("features.safetensors", data)], |folder| {
        read_features(&folder.join("features.safetensors"));
    });
}

fn read_features(path: &Path) {
    let Ok(store) = FeatureStore::open(path, FEATURES_KEY) else {
        return;
    };
    let most = store.count().min(4);
    let indices: Vec<usize> = (0..most).collect();
    let _ = store.batch(&indices, &Device::flex());
}
