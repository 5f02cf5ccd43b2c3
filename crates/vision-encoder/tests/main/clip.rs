//! Both towers of CLIP: batches, and what does not fit. What they compute is compared in `golden`.

use blip2_core::ModelError;
use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_golden::{Check, fixture, tolerance};
use blip2_vision_encoder::{Clip, ClipConfig, ClipTextConfig, EncoderError};
use burn::tensor::{Device, Tensor};

fn clip() -> Clip {
    Clip::from_hugging_face(&fixture("parts/clip"), &Device::flex()).unwrap()
}

fn expected() -> SafetensorsStore {
    SafetensorsStore::open(&fixture("parts/clip").join("expected.safetensors")).unwrap()
}

/// The texts without their padding.
fn texts(expected: &SafetensorsStore) -> Vec<Vec<u32>> {
    let read = |name: &str| {
        let data = expected.read(name).unwrap();
        data.iter::<i64>().collect::<Vec<_>>()
    };
    let tokens = expected.tensors()["input_ids"].shape[1];
    let (ids, mask) = (read("input_ids"), read("attention_mask"));
    ids.chunks(tokens)
        .zip(mask.chunks(tokens))
        .map(|(ids, mask)| {
            let real = ids.iter().zip(mask).filter(|(_, real)| **real == 1);
            real.map(|(id, _)| *id as u32).collect()
        })
        .collect()
}

#[test]
fn a_text_is_the_same_in_a_batch_and_alone() {
    let (clip, expected) = (clip(), expected());
    let texts = texts(&expected);
    let batch = clip.text_embeddings(&texts).unwrap();
    for (row, text) in texts.iter().enumerate() {
        let alone = clip.text_embeddings(std::slice::from_ref(text)).unwrap();
        let same = batch.clone().narrow(0, row, 1);
        Check::new("parts/clip").close("text", &alone, &same, 1e-5);
    }
}

#[test]
fn texts_that_do_not_fit_are_refused() {
    let clip = clip();
    let config = ClipConfig::read(&fixture("parts/clip").join("config.json")).unwrap();
    let ClipTextConfig {
        vocab_size,
        eos_token_id,
        max_position_embeddings,
        ..
    } = config.text;
    let other = u32::from(eos_token_id == 0);
    let endless = clip.text_embeddings(&[vec![other]]).unwrap_err();
    assert!(endless.to_string().contains("no end token"), "{endless}");
    let long = clip
        .text_embeddings(&[vec![eos_token_id; max_position_embeddings + 1]])
        .unwrap_err();
    assert!(matches!(long, ModelError::Context { .. }), "{long}");
    let unknown = clip
        .text_embeddings(&[vec![vocab_size as u32, eos_token_id]])
        .unwrap_err();
    assert!(matches!(unknown, ModelError::Vocabulary { .. }), "{unknown}");
}

/// Until 2023 the published configurations gave 2 as the end token; the largest id is meant.
#[test]
fn an_untrue_end_token_means_the_largest_id() {
    let (source, expected) = (fixture("parts/clip"), expected());
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(source.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["text_config"]["eos_token_id"] = 2.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::copy(
        source.join("model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    let clip = Clip::from_hugging_face(folder.path(), &Device::flex()).unwrap();
    let embeddings: Tensor<2> = clip.text_embeddings(&texts(&expected)).unwrap();
    let usual: Tensor<2> = crate::tensor(&expected, "text_embeds");
    Check::new("parts/clip").close("text_embeds", &embeddings, &usual, tolerance::FEATURES);
}

#[test]
fn a_configuration_beyond_reason_is_an_error() {
    let source = fixture("parts/clip").join("config.json");
    let text = std::fs::read_to_string(source).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (part, key, value) in [
        (Some("text_config"), "vocab_size", 0usize),
        (Some("text_config"), "num_hidden_layers", 1 << 40),
        (Some("text_config"), "num_attention_heads", 1_000_003),
        (None, "projection_dim", 0),
    ] {
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        match part {
            Some(part) => config[part][key] = value.into(),
            None => config[key] = value.into(),
        }
        let path = folder.path().join("config.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let error = Clip::from_hugging_face(folder.path(), &Device::flex()).unwrap_err();
        assert!(matches!(error, EncoderError::Weights(_)), "{error}");
        assert!(error.to_string().contains(key), "{key}: {error}");
    }
}
