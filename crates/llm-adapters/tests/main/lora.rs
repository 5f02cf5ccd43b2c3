//! Low-rank updates beside frozen language models: the same as weights that were changed by them, and PEFT's files.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use blip2_core::layers::LowRank;
use blip2_core::weights::{open_weights, write_safetensors};
use blip2_core::{Initializer, LanguageModel, TextExample};
use blip2_golden::fixture;
use blip2_llm_adapters::{LoraConfig, PeftFolder, from_hugging_face};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

/// Tiny models, with the layers that are usually adapted, and one more each.
const MODELS: [(&str, &[&str]); 3] = [
    ("parts/opt", &["q_proj", "v_proj", "fc2"]),
    ("parts/llama", &["q_proj", "v_proj", "down_proj"]),
    ("parts/t5", &["q", "v", "wi_1"]),
];

fn config(targets: &[&str]) -> LoraConfig {
    LoraConfig {
        rank: 3,
        alpha: 6.0,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
    }
}

/// Updates that change something: what is zero at first is random.
fn learned(config: &LoraConfig, model: &dyn LanguageModel) -> Vec<(String, LowRank)> {
    let mut initializer = Initializer::new(5, &Device::flex());
    let begun = config
        .begin(model, &mut initializer)
        .expect("layers of these names");
    let random = |(name, mut update): (String, LowRank)| {
        let [_, rank, outputs] = update.sizes();
        update.up = initializer.normal([outputs, rank], 0.05);
        (name, update)
    };
    begun.into_iter().map(random).collect()
}

fn logits(model: &dyn LanguageModel) -> Vec<f32> {
    let soft_prompt = Initializer::new(6, &Device::flex())
        .normal([2, 3, model.hidden_size()], 0.3)
        .val();
    let example = |first: u32| TextExample {
        prompt: vec![first, first + 1],
        target: vec![first + 2, first + 3, first + 4],
    };
    let logits = model
        .logits(soft_prompt, &[example(5), example(9)])
        .expect("logits");
    logits.into_data().try_to_vec().expect("floats")
}

fn farthest(left: &[f32], right: &[f32]) -> f32 {
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f32::max)
}

/// The folder with each update added to the weight that it stands beside.
fn merged(folder: &Path, updates: &[(String, LowRank)], into: &Path) {
    let store = open_weights(folder).expect("weights");
    let value = |parameter: &Param<Tensor<2>>| parameter.val();
    let tensors: Vec<(String, TensorData)> = store
        .tensors()
        .keys()
        .map(|name| {
            let data = store.read(name).expect("a tensor").convert::<f32>();
            let update = updates
                .iter()
                .find(|(module, _)| *name == format!("{module}.weight"));
            let data = match update {
                None => data,
                Some((_, update)) => {
                    let weight = Tensor::<2>::from_data(data, &Device::flex());
                    let change = value(&update.up).matmul(value(&update.down)) * 2.0;
                    (weight + change).into_data()
                }
            };
            (name.clone(), data)
        })
        .collect();
    write_safetensors(&into.join("model.safetensors"), &tensors, HashMap::new()).expect("written");
    fs::copy(folder.join("config.json"), into.join("config.json")).expect("copied");
}

#[test]
fn an_update_is_what_it_adds_to_a_weight() {
    for (name, targets) in MODELS {
        let folder = fixture(name);
        let frozen = from_hugging_face(&folder, &Device::flex()).expect("a model");
        let (before, fingerprint) = (logits(frozen.as_ref()), frozen.fingerprint());
        let config = config(targets);
        let begun = config
            .begin(frozen.as_ref(), &mut Initializer::new(1, &Device::flex()))
            .expect("updates");
        let adapted = frozen.adapted(&begun).expect("adapted");
        assert_eq!(logits(adapted.as_ref()), before, "{name}: nothing is learned yet");

        let updates = learned(&config, frozen.as_ref());
        let layers = frozen.adaptable_layers();
        assert!(updates.len() < layers.len() && updates.len() >= targets.len());
        let adapted = frozen.adapted(&updates).expect("adapted");
        let scratch = tempfile::tempdir().expect("folder");
        merged(&folder, &updates, scratch.path());
        let merged = from_hugging_face(scratch.path(), &Device::flex()).expect("a model");
        let (adapted, merged) = (logits(adapted.as_ref()), logits(merged.as_ref()));
        let largest = merged.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        assert!(farthest(&adapted, &merged) < 1e-4 * largest, "{name}");
        assert!(
            farthest(&adapted, &before) > 1e-2 * largest,
            "{name}: the updates do something"
        );
        assert_eq!(logits(frozen.as_ref()), before, "{name}");
        assert_eq!(frozen.fingerprint(), fingerprint, "{name}");
    }
}

#[test]
fn every_adaptable_layer_is_a_weight_of_the_folder() {
    for (name, _) in MODELS {
        let frozen = from_hugging_face(&fixture(name), &Device::flex()).expect("a model");
        let store = open_weights(&fixture(name)).expect("weights");
        let layers = frozen.adaptable_layers();
        assert!(!layers.is_empty());
        for layer in layers {
            let info = &store.tensors()[&format!("{}.weight", layer.name)];
            assert_eq!(
                info.shape,
                [layer.outputs, layer.inputs],
                "{name}: {}",
                layer.name
            );
        }
    }
}

#[test]
fn what_is_saved_is_read_back() {
    let (name, targets) = MODELS[0];
    let frozen = from_hugging_face(&fixture(name), &Device::flex()).expect("a model");
    let config = config(targets);
    let saved = PeftFolder {
        updates: learned(&config, frozen.as_ref()),
        config: config.clone(),
    };
    let folder = tempfile::tempdir().expect("folder");
    saved
        .save(folder.path(), Path::new("facebook/opt-tiny"), frozen.as_ref())
        .expect("saved");
    let read = PeftFolder::open(folder.path(), &Device::flex()).expect("read");
    assert_eq!(read.config, config);
    let with = |updates: &[(String, LowRank)]| logits(frozen.adapted(updates).expect("adapted").as_ref());
    assert_eq!(with(&read.updates), with(&saved.updates));
    let other = from_hugging_face(&fixture("parts/llama"), &Device::flex()).expect("a model");
    let error = other.adapted(&read.updates).err().expect("a refusal").to_string();
    assert!(error.contains(&read.updates[0].0), "{error}");
}

#[test]
fn what_is_no_plain_lora_is_refused_by_name() {
    let (name, targets) = MODELS[0];
    let frozen = from_hugging_face(&fixture(name), &Device::flex()).expect("a model");
    let unknown = config(&["nowhere"]).begin(frozen.as_ref(), &mut Initializer::new(1, &Device::flex()));
    let error = unknown.expect_err("a refusal").to_string();
    assert!(error.contains("nowhere") && error.contains("q_proj"), "{error}");
    let config = config(targets);
    let saved = PeftFolder {
        updates: learned(&config, frozen.as_ref()),
        config,
    };
    let folder = tempfile::tempdir().expect("folder");
    saved
        .save(folder.path(), Path::new("base"), frozen.as_ref())
        .expect("saved");
    let file = folder.path().join("adapter_config.json");
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("readable")).expect("JSON");
    for (key, value) in [
        ("peft_type", serde_json::json!("IA3")),
        ("use_dora", serde_json::json!(true)),
        ("rank_pattern", serde_json::json!({ "fc1": 8 })),
        ("r", serde_json::json!(4)),
    ] {
        let mut changed = written.clone();
        changed[key] = value;
        fs::write(&file, changed.to_string()).expect("written");
        let error = PeftFolder::open(folder.path(), &Device::flex())
            .err()
            .expect("a refusal");
        assert!(!error.to_string().is_empty(), "{key}");
    }
}
