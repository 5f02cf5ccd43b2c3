//! The ViT-S/14 from its ONNX file, against what onnxruntime computes from the same file.
//!
//! `saliency.json` holds, for a few depths and image sizes of a fixed pattern, six features and the root mean square of
//! all. The tests need the model that `cargo xtask assets` puts under `$BLIP2_HOME`.

use std::path::{Path, PathBuf};

use blip2_core::VisionEncoder;
use blip2_core::weights::{OnnxStore, TensorStore, WeightError};
use blip2_vision_encoder::{EncoderError, VisionTransformer, conformance};
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;
const BLOCKS: usize = 12;

#[derive(Deserialize)]
struct Case {
    height: usize,
    width: usize,
    blocks: usize,
    final_norm: bool,
    root_mean_square: f32,
    samples: Vec<(usize, usize, f32)>,
}

/// The model file, if it is there; else the skipped test says so.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn file() -> Option<PathBuf> {
    let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
    let file = home
        .map(|home| home.join("assets/vit-s/vit_s_focus.onnx"))
        .filter(|file| file.is_file());
    if file.is_none() {
        eprintln!("SKIPPED: $BLIP2_HOME/assets/vit-s is absent; run `cargo xtask assets` and set BLIP2_HOME");
    }
    file
}

fn encoder(file: &Path) -> VisionTransformer {
    VisionTransformer::from_saliency_onnx(file, &Device::flex()).unwrap()
}

/// The pattern that the expected numbers were made with.
fn pixels(height: usize, width: usize) -> Tensor<4> {
    let value = |index: usize| ((index * 7919 + index / width * 104_729) % 511) as f32 / 128.0 - 2.0;
    let values: Vec<f32> = (0..3 * height * width).map(value).collect();
    Tensor::from_data(TensorData::new(values, [1, 3, height, width]), &Device::flex())
}

#[test]
fn features_are_those_of_onnxruntime_at_every_depth() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("saliency.json")).unwrap();
    let Some(file) = file() else { return };
    let encoder = encoder(&file);
    for Case {
        height,
        width,
        blocks,
        final_norm,
        root_mean_square,
        samples,
    } in cases
    {
        let what = format!("{height} x {width} after {blocks} blocks, normalised: {final_norm}");
        let encoder = encoder.clone().with_features(blocks as i32, final_norm).unwrap();
        let features = encoder.encode(pixels(height, width)).unwrap();
        let [_, tokens, breadth] = features.dims();
        assert_eq!(
            (tokens, breadth),
            (encoder.tokens(height, width).unwrap(), encoder.width()),
            "{what}"
        );
        let values: Vec<f32> = features.into_data().try_into_vec().unwrap();
        let largest = values
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (token, channel, expected) in samples {
            let actual = values[token * breadth + channel];
            assert!(
                (actual - expected).abs() <= TOLERANCE * largest,
                "{what}: token {token}, channel {channel} is {actual}, expected {expected}"
            );
        }
        let squares: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let actual = (squares / values.len() as f64).sqrt() as f32;
        assert!(
            (actual / root_mean_square - 1.0).abs() <= TOLERANCE,
            "{what}: {actual}, expected {root_mean_square}"
        );
    }
}

#[test]
fn the_real_encoder_conforms() {
    let Some(file) = file() else { return };
    let encoder = encoder(&file).with_features(BLOCKS as i32, true).unwrap();
    conformance::check(&encoder, 112, 112, &Device::flex()).unwrap();
}

#[test]
fn a_truncated_model_names_the_file() {
    let Some(file) = file() else { return };
    let whole = std::fs::read(file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short.onnx");
    for length in [whole.len() / 2, whole.len() - 1_000_000, 100, 0] {
        std::fs::write(&path, &whole[..length]).unwrap();
        match VisionTransformer::from_saliency_onnx(&path, &Device::flex()) {
            Err(EncoderError::Weights(error @ WeightError::Format { .. })) => {
                assert!(error.to_string().contains("short.onnx"), "{error}");
            }
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn every_matrix_of_the_backbone_has_a_name() {
    let Some(file) = file() else { return };
    let store = OnnxStore::open(&file).unwrap();
    let anonymous: Vec<&String> = store
        .tensors()
        .keys()
        .filter(|name| name.starts_with("onnx::"))
        .collect();
    // The positions, in two parts: no linear layer, and put together by the encoder.
    assert_eq!(anonymous, ["onnx::Concat_1957", "onnx::Reshape_1962"]);
}
