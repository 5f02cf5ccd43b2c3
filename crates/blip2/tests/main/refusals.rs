//! Folders that cannot be used: an error that names the file and the reason.

use std::fs;
use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore, write_safetensors};
use blip2_golden::fixture;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{chain, copy, edit, load, picture};

/// The error of loading `folder`, with its causes.
fn refusal(folder: &Path) -> String {
    let error = load(folder).err().expect("the folder was accepted");
    chain(&error)
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not said: {message}");
    }
}

fn opt() -> TempDir {
    copy(&fixture("hf/opt-tiny"))
}

#[test]
fn a_model_of_another_kind() {
    for (name, kind) in [("parts/dinov2", "dinov2"), ("parts/opt", "opt")] {
        assert_says(&refusal(&fixture(name)), &["config.json", kind, "blip-2"]);
    }
}

#[test]
fn files_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    assert_says(&refusal(folder.path()), &["config.json", "blip2.json"]);
    for (name, parts) in [
        (
            "processor_config.json",
            ["preprocessor_config.json", "cannot be read"],
        ),
        (
            "model.safetensors",
            ["model.safetensors.index.json", "pytorch_model.bin"],
        ),
    ] {
        let folder = opt();
        fs::remove_file(folder.path().join(name)).unwrap();
        assert_says(&refusal(folder.path()), &parts);
    }
    // The language model is loaded when it is first asked.
    let folder = opt();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let blip2 = load(folder.path()).unwrap();
    let picture = picture(folder.path(), &Value::from("image0.png"));
    let error = blip2.trace(&picture, "").unwrap_err();
    assert_says(&chain(&error), &["tokenizer.json"]);
    let folder = copy(&fixture("hf/itm-tiny"));
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert_says(&refusal(folder.path()), &["tokenizer.json"]);
}

#[test]
fn a_configuration_that_is_not_that_of_the_weights() {
    for (section, key, value, parts) in [
        (
            "qformer_config",
            "hidden_size",
            json!(24),
            &["of another shape", "query_tokens"][..],
        ),
        (
            "qformer_config",
            "hidden_act",
            json!("relu"),
            &["relu", "config.json"],
        ),
        (
            "qformer_config",
            "num_attention_heads",
            json!(7),
            &["num_attention_heads 7"],
        ),
        (
            "qformer_config",
            "cross_attention_frequency",
            json!(1),
            &["missing", "crossattention"],
        ),
        (
            "vision_config",
            "num_hidden_layers",
            json!(2),
            &["unexpected", "layers.2."],
        ),
        ("vision_config", "model_type", json!("resnet"), &["resnet"]),
    ] {
        let folder = opt();
        edit(&folder.path().join("config.json"), |config| {
            config[section][key] = value.clone();
        });
        assert_says(&refusal(folder.path()), parts);
    }
}

#[test]
fn a_configuration_that_cannot_be_read() {
    for (text, reason) in [("{", "EOF"), ("[]", "invalid"), ("{}", "model_type")] {
        let folder = opt();
        fs::write(folder.path().join("config.json"), text).unwrap();
        assert_says(&refusal(folder.path()), &["config.json", reason]);
    }
    let folder = opt();
    fs::write(folder.path().join("generation_config.json"), "[1").unwrap();
    assert_says(&refusal(folder.path()), &["generation_config.json"]);
}

#[test]
fn weights_that_are_too_many_or_too_few_are_listed() {
    let folder = opt();
    let store = SafetensorsStore::open(folder.path()).unwrap();
    let renamed = |name: &String| name.replace("output_query", "output_question");
    let tensors: Vec<_> = store
        .tensors()
        .keys()
        .map(|name| (renamed(name), store.read(name).unwrap()))
        .collect();
    drop(store);
    write_safetensors(
        &folder.path().join("model.safetensors"),
        &tensors,
        Default::default(),
    )
    .unwrap();
    let layers = 4 * tensors
        .iter()
        .filter(|(name, _)| name.ends_with("intermediate_query.dense.weight"))
        .count();
    assert_says(
        &refusal(folder.path()),
        &[
            &format!("{layers} missing: qformer.encoder.layer.0.output_query"),
            &format!("{layers} unexpected: qformer.encoder.layer.0.output_question"),
        ],
    );
}

#[test]
fn an_index_that_names_a_file_elsewhere() {
    let folder = opt();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    for (shard, reason) in [
        ("../model.safetensors", "points out"),
        ("gone.safetensors", "gone.safetensors"),
    ] {
        let index = json!({"weight_map": {"query_tokens": shard}});
        fs::write(
            folder.path().join("model.safetensors.index.json"),
            index.to_string(),
        )
        .unwrap();
        assert_says(&refusal(folder.path()), &[reason]);
    }
}

#[test]
fn a_tokenizer_that_knows_more_than_the_model() {
    let folder = opt();
    edit(&folder.path().join("tokenizer.json"), |tokenizer| {
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        (0..100).for_each(|number| {
            vocabulary.insert(format!("extra{number}"), json!(600 + number));
        });
    });
    let blip2 = load(folder.path()).unwrap();
    let picture = picture(folder.path(), &Value::from("image0.png"));
    assert_says(&chain(&blip2.trace(&picture, "").unwrap_err()), &["ids", "model"]);

    let folder = copy(&fixture("hf/itm-tiny"));
    edit(&folder.path().join("tokenizer.json"), |tokenizer| {
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        (0..100).for_each(|number| {
            vocabulary.insert(format!("extra{number}"), json!(600 + number));
        });
    });
    assert_says(&refusal(folder.path()), &["word embeddings", "tokenizer.json"]);
}

#[test]
fn what_a_model_was_not_trained_for() {
    let opt = load(&fixture("hf/opt-tiny")).unwrap();
    let retrieval = load(&fixture("hf/itm-tiny")).unwrap();
    let picture = picture(&fixture("hf/opt-tiny"), &Value::from("image0.png"));
    let pictures = std::slice::from_ref(&picture);
    let texts = ["a dog".to_owned()];
    assert_says(
        &opt.match_texts(&picture, &texts).unwrap_err().to_string(),
        &["opt-tiny", "Blip2ForImageTextRetrieval"],
    );
    let settings = retrieval.caption_settings();
    assert_says(
        &retrieval
            .caption(pictures, &texts, settings)
            .unwrap_err()
            .to_string(),
        &["itm-tiny", "Blip2ForConditionalGeneration"],
    );
    assert_says(
        &retrieval
            .caption_by_qformer(pictures, settings)
            .unwrap_err()
            .to_string(),
        &["itm-tiny", "language head"],
    );
}
