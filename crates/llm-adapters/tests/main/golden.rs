//! `parts/llama`: what `transformers` computes for a small model with a soft prefix.

use std::path::PathBuf;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_core::{LanguageModel, TextExample};
use blip2_generation::{GenerationConfig, generate};
use blip2_llm_adapters::Llama;
use burn::tensor::{Device, Tensor};

fn folder() -> PathBuf {
    let root = std::env::var_os("BLIP2_GOLDEN").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden").into(),
        PathBuf::from,
    );
    root.join("parts/llama")
}

struct Golden {
    model: Llama,
    expected: SafetensorsStore,
    prefix: Tensor<3>,
    /// The ids of each row without padding.
    texts: Vec<Vec<u32>>,
}

impl Golden {
    fn open() -> Self {
        let device = Device::flex();
        let expected = SafetensorsStore::open(&folder().join("expected.safetensors")).unwrap();
        let prefix: Tensor<3> = Tensor::from_data(expected.read("prefix_embeds").unwrap(), &device);
        let [rows, queries, _] = prefix.dims();
        let ids = integers(&expected, "input_ids");
        let mask = integers(&expected, "attention_mask");
        let (tokens, all) = (ids.len() / rows, mask.len() / rows);
        let texts = (0..rows)
            .map(|row| {
                let real = mask[row * all + queries..(row + 1) * all].iter().sum::<i64>() as usize;
                ids[row * tokens..row * tokens + real]
                    .iter()
                    .map(|id| *id as u32)
                    .collect()
            })
            .collect();
        Self {
            model: Llama::from_hugging_face(&folder(), &device).unwrap(),
            expected,
            prefix,
            texts,
        }
    }
}

fn integers(store: &SafetensorsStore, name: &str) -> Vec<i64> {
    store.read(name).unwrap().iter::<i64>().collect()
}

#[test]
fn logits_agree_with_the_reference() {
    let golden = Golden::open();
    let actual = golden.model.logits(golden.prefix.clone(), &golden.texts).unwrap();
    let [_, tokens, vocabulary] = actual.dims();
    let actual: Vec<f32> = actual.into_data().iter().collect();
    let expected: Vec<f32> = golden.expected.read("logits").unwrap().iter().collect();
    let largest = expected
        .iter()
        .fold(0.0f32, |largest, value| largest.max(value.abs()));
    let queries = golden.prefix.dims()[1];
    for (row, text) in golden.texts.iter().enumerate() {
        let real = row * tokens * vocabulary..(row * tokens + queries + text.len()) * vocabulary;
        for (actual, expected) in actual[real.clone()].iter().zip(&expected[real]) {
            assert!(
                (actual - expected).abs() <= 2e-4 * largest,
                "row {row}: {actual} instead of {expected}"
            );
        }
    }
}

#[test]
fn loss_agrees_with_the_reference() {
    let golden = Golden::open();
    let examples: Vec<TextExample> = golden
        .texts
        .iter()
        .map(|text| TextExample {
            prompt: Vec::new(),
            target: text.clone(),
        })
        .collect();
    let actual: f64 = golden
        .model
        .loss(golden.prefix.clone(), &examples)
        .unwrap()
        .into_scalar();
    let expected = golden
        .expected
        .read("loss")
        .unwrap()
        .iter::<f64>()
        .next()
        .unwrap();
    assert!(
        (actual - expected).abs() <= 1e-5 * expected,
        "{actual} instead of {expected}"
    );
}

#[test]
fn beam_search_writes_what_the_reference_writes() {
    let golden = Golden::open();
    let expected: Vec<u32> = integers(&golden.expected, "beam4_ids")
        .iter()
        .map(|id| *id as u32)
        .collect();
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder().join("config.json")).unwrap()).unwrap();
    let settings = GenerationConfig {
        num_beams: 4,
        max_new_tokens: expected.len(),
        end_tokens: vec![config["eos_token_id"].as_u64().unwrap() as u32],
        ..Default::default()
    };
    let prefix = golden.prefix.clone().narrow(0, 0, 1);
    let prompt = &golden.texts[..1];
    let mut text = golden.model.start(prefix, prompt).unwrap();
    let written = generate(text.as_mut(), prompt, &settings, None).unwrap();
    assert_eq!(written[0].ids, expected);
}
