//! EVA's and CLIP's encoder in LAVIS checkpoints: sizes, other inputs, and what does not fit.

use std::collections::HashMap;

use blip2_core::Initializer;
use blip2_core::layers::LayerNorm;
use blip2_core::weights::{SafetensorsStore, TensorStore, WeightError, write_safetensors};
use blip2_golden::{device, fixture};
use blip2_vision_encoder::{EncoderError, VisionTransformer, VisionTransformerConfig, conformance};
use burn::module::Param;
use burn::tensor::{Device, Tensor};

const FAMILIES: [&str; 2] = ["eva", "clip"];

fn open(name: &str) -> SafetensorsStore {
    SafetensorsStore::open(&fixture("lavis").join(name)).unwrap()
}

fn weights(family: &str) -> SafetensorsStore {
    open(&format!("stage1_{family}_weights.safetensors"))
}

fn sizes() -> serde_json::Value {
    let text = std::fs::read_to_string(fixture("lavis/config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn heads(sizes: &serde_json::Value) -> usize {
    sizes["vit"]["heads"].as_u64().unwrap() as usize
}

/// The encoder of a checkpoint; `sizes` say what its tensors do not.
pub(crate) fn encoder(
    family: &str,
    weights: &SafetensorsStore,
    sizes: &serde_json::Value,
) -> VisionTransformer {
    let mut config = VisionTransformerConfig::of_lavis(weights, heads(sizes)).unwrap();
    config.layer_norm_eps = sizes["vit"][family]["layer_norm_eps"].as_f64().unwrap();
    VisionTransformer::from_lavis(weights, &config, &device()).unwrap()
}

/// The norm that LAVIS puts behind its encoders; it belongs to the bridge.
pub(crate) fn vision_norm(weights: &SafetensorsStore, sizes: &serde_json::Value) -> LayerNorm {
    let epsilon = sizes["ln_vision_eps"].as_f64().unwrap();
    let weight: Tensor<1> = crate::tensor(weights, "ln_vision.weight");
    let mut norm = LayerNorm::new(&mut Initializer::new(0, &device()), weight.dims()[0], epsilon);
    norm.weight = Param::from_tensor(weight);
    norm.bias = Param::from_tensor(crate::tensor(weights, "ln_vision.bias"));
    norm
}

#[test]
fn the_sizes_are_read_from_the_tensors() {
    let sizes = sizes();
    let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    for family in FAMILIES {
        let config = VisionTransformerConfig::of_lavis(&weights(family), heads(&sizes)).unwrap();
        assert_eq!(config.hidden_size, number(&sizes["vit"]["width"]), "{family}");
        assert_eq!(config.image_size, number(&sizes["image_size"]), "{family}");
        assert_eq!(config.patch_size, number(&sizes["patch_size"]), "{family}");
    }
}

#[test]
fn both_conform_at_other_sizes_too() {
    for family in FAMILIES {
        let weights = weights(family);
        let patch = VisionTransformerConfig::of_lavis(&weights, heads(&sizes()))
            .unwrap()
            .patch_size;
        let encoder = encoder(family, &weights, &sizes());
        conformance::check(&encoder, 3 * patch, 6 * patch, &Device::flex()).unwrap();
        let error = encoder.with_features(1, true).unwrap_err();
        assert!(error.to_string().contains("no last normalisation"), "{error}");
    }
}

#[test]
fn a_fused_projection_that_is_missing_is_listed_by_part() {
    for (family, fused) in [("eva", "attn.qkv.weight"), ("clip", "attn.in_proj_bias")] {
        let whole = weights(family);
        let config = VisionTransformerConfig::of_lavis(&whole, heads(&sizes())).unwrap();
        let kept: Vec<_> = whole
            .tensors()
            .keys()
            .filter(|name| !name.ends_with(&format!(".0.{fused}")))
            .map(|name| (name.clone(), whole.read(name).unwrap()))
            .collect();
        assert_eq!(kept.len() + 1, whole.tensors().len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short.safetensors");
        write_safetensors(&path, &kept, HashMap::new()).unwrap();
        let short = SafetensorsStore::open(&path).unwrap();
        match VisionTransformer::from_lavis(&short, &config, &Device::flex()) {
            Err(EncoderError::Weights(WeightError::Mismatch {
                missing, unexpected, ..
            })) => {
                assert_eq!(missing.len(), 3, "{missing:?}");
                assert!(missing[0].ends_with(&format!(".0.{fused}[query]")), "{missing:?}");
                assert!(unexpected.is_empty(), "{unexpected:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_checkpoint_without_an_encoder_says_what_was_looked_for() {
    let grads = open("stage1_eva_grads.safetensors");
    let error = VisionTransformerConfig::of_lavis(&grads, heads(&sizes()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("visual_encoder.cls_token") && error.contains("visual_encoder.class_embedding"),
        "{error}"
    );
}
