//! What a `config.json` leaves out is what the configuration classes of `transformers` hold by themselves, which
//! `tests/peer/config_defaults.py` recorded.

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use blip2_core::weights::WeightError;
use blip2_llm_adapters::{LlamaConfig, OptConfig, T5Config, model_type};
use blip2_qformer::RepresentationConfig;
use blip2_vision_encoder::{ClipConfig, VisionTransformerConfig};
use serde_json::{Value, json};

use crate::support::recorded_defaults;

/// Asserts that `read` makes the same of the configuration `full` whichever of its keys, and those of its parts, are left out;
/// and of the `model_type` alone.
fn assert_filled<Config: Debug + PartialEq>(
    full: &Value,
    read: impl Fn(&Path) -> Result<Config, WeightError>,
) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let read = |config: &Value| {
        fs::write(&file, config.to_string()).unwrap();
        read(&file).unwrap_or_else(|error| panic!("{config}: {error}"))
    };
    let expected = read(full);
    let kind = json!({ "model_type": full["model_type"] });
    assert_eq!(read(&kind), expected, "{kind}");
    for (key, value) in full.as_object().unwrap() {
        if key == "model_type" {
            continue;
        }
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(key);
        assert_eq!(read(&without), expected, "without {key}");
        let Some(part) = value.as_object().filter(|_| key.ends_with("_config")) else {
            continue;
        };
        let mut empty = full.clone();
        empty[key] = json!({});
        assert_eq!(read(&empty), expected, "{key} empty");
        for inner in part.keys() {
            let mut without = full.clone();
            without[key].as_object_mut().unwrap().remove(inner);
            assert_eq!(read(&without), expected, "without {inner} in {key}");
        }
    }
}

#[test]
fn opt_and_the_llama_family() {
    let defaults = recorded_defaults();
    assert_filled(&defaults["opt"], OptConfig::from_hugging_face);
    for family in ["llama", "mistral", "qwen2", "qwen3"] {
        assert_filled(&defaults[family], LlamaConfig::from_hugging_face);
    }
}

#[test]
fn t5_with_a_gate() {
    // By itself it has none, which is not supported: the key is in every file of a FlanT5.
    let mut full = recorded_defaults()["t5"].clone();
    let keys = full.as_object_mut().unwrap();
    keys.remove("dense_act_fn");
    keys.remove("feed_forward_proj");
    assert_filled(&full, |file| {
        let mut config: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        config["feed_forward_proj"] = json!("gated-gelu");
        fs::write(file, config.to_string()).unwrap();
        T5Config::from_hugging_face(file)
    });
}

#[test]
fn encoders_alone_and_within_a_larger_model() {
    let defaults = recorded_defaults();
    for kind in [
        "dinov2",
        "clip_vision_model",
        "siglip_vision_model",
        "blip_2_vision_model",
        "instructblip_vision_model",
        "blip_vision_model",
        "clip",
        "siglip",
        "blip",
        "blip-2",
        "instructblip",
    ] {
        assert_filled(&defaults[kind], VisionTransformerConfig::read);
    }
    assert_filled(&defaults["clip"], ClipConfig::read);
}

#[test]
fn whole_models() {
    let defaults = recorded_defaults();
    for kind in ["blip-2", "instructblip"] {
        assert_filled(&defaults[kind], RepresentationConfig::from_hugging_face);
        assert_filled(&defaults[kind], |file| {
            Ok(model_type(file.parent().unwrap()).unwrap())
        });
        assert_filled(&defaults[kind], OptConfig::from_hugging_face);
    }
}
