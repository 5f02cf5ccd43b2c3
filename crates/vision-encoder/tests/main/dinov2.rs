//! What a DINOv2 transformer offers, and what it does with what does not fit.

use blip2_core::weights::{SafetensorsStore, TensorStore, WeightError, fingerprint};
use blip2_core::{Initializer, ModelError, VisionEncoder};
use blip2_golden::fixture;
use blip2_vision_encoder::{EncoderError, VisionTransformer, VisionTransformerConfig};
use burn::tensor::{Device, Tensor};

fn config() -> VisionTransformerConfig {
    VisionTransformerConfig::read(&fixture("parts/dinov2").join("config.json")).unwrap()
}

fn reference() -> VisionTransformer {
    VisionTransformer::from_hugging_face(&fixture("parts/dinov2"), &Device::flex()).unwrap()
}

#[test]
fn features_can_be_taken_after_any_block() {
    let patch = config().patch_size;
    let pixels = Tensor::<4>::ones([1, 3, 2 * patch, 3 * patch], &Device::flex()) * 0.5;
    let trace = reference().trace(pixels.clone()).unwrap();
    assert_eq!(trace.len(), reference().blocks() + 1);
    for (after, features) in trace.iter().enumerate() {
        let encoder = reference().with_features(after as i32, false).unwrap();
        assert!(
            encoder
                .encode(pixels.clone())
                .unwrap()
                .equal(features.clone())
                .all()
                .into_scalar::<bool>()
        );
    }
    let error = reference().with_features(trace.len() as i32, false).unwrap_err();
    assert!(error.to_string().contains("choose 0 to"), "{error}");
}

#[test]
fn pixels_that_do_not_fit_are_an_error() {
    let patch = config().patch_size;
    let side = 4 * patch;
    for shape in [
        [1, 3, side + 1, side],
        [1, 3, side, patch - 1],
        [1, 4, side, side],
        [1, 3, 0, side],
        [0, 3, side, side],
    ] {
        let error = reference()
            .encode(Tensor::zeros(shape, &Device::flex()))
            .unwrap_err();
        assert!(matches!(error, ModelError::Shape { .. }), "{error}");
    }
}

#[test]
fn initial_weights_are_decided_by_the_seed() {
    let made = |seed| {
        fingerprint(&VisionTransformer::new(&config(), &mut Initializer::new(seed, &Device::flex())).unwrap())
    };
    assert_eq!(made(1), made(1));
    assert_ne!(made(1), made(2));
}

#[test]
fn a_configuration_that_is_wrong_names_the_file_and_the_reason() {
    let good = std::fs::read_to_string(fixture("parts/dinov2").join("config.json")).unwrap();
    let good: serde_json::Value = serde_json::from_str(&good).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    for (key, value, reason) in [
        ("model_type", serde_json::json!("vit"), "unknown variant `vit`"),
        ("patch_size", serde_json::json!(0), "patch_size is 0"),
        (
            "num_hidden_layers",
            serde_json::json!(u32::MAX),
            "num_hidden_layers is 4294967295",
        ),
        ("num_attention_heads", serde_json::json!(-1), "invalid value"),
        (
            "hidden_size",
            serde_json::json!(63),
            "not a multiple of num_attention_heads",
        ),
        ("use_swiglu_ffn", serde_json::json!(true), "use_swiglu_ffn"),
        (
            "hidden_act",
            serde_json::json!("sinus"),
            "unknown variant `sinus`",
        ),
    ] {
        let mut config = good.clone();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        let error = VisionTransformerConfig::read(&path).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains(reason), "{error}");
    }
}

#[test]
fn weights_of_another_size_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("parts/dinov2");
    let text = std::fs::read_to_string(source.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["num_hidden_layers"] = (config["num_hidden_layers"].as_u64().unwrap() + 1).into();
    config["mlp_ratio"] = (config["mlp_ratio"].as_u64().unwrap() + 1).into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    for entry in std::fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "config.json" {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let store = SafetensorsStore::open(&source).unwrap();
    let block = store
        .tensors()
        .keys()
        .filter(|name| name.starts_with("encoder.layer.0."))
        .count();
    match VisionTransformer::from_hugging_face(folder.path(), &Device::flex()) {
        Err(EncoderError::Weights(WeightError::Mismatch {
            missing,
            misshapen,
            unexpected,
            ..
        })) => {
            assert_eq!(missing.len(), block, "{missing:?}");
            assert!(unexpected.is_empty(), "{unexpected:?}");
            assert!(
                misshapen.iter().all(|line| line.contains("mlp.fc")),
                "{misshapen:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}
