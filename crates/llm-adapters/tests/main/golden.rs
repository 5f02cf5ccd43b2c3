//! `parts/llama`, `opt`, `t5` and `t5-erf`: what `transformers` computes for small models with a soft prefix.

use std::path::PathBuf;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_core::{LanguageModel, TextExample};
use blip2_generation::{GenerationConfig, generate};
use blip2_llm_adapters::{Llama, Opt, T5};
use burn::tensor::{Device, Tensor};

fn folder(part: &str) -> PathBuf {
    let root = std::env::var_os("BLIP2_GOLDEN").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden").into(),
        PathBuf::from,
    );
    root.join("parts").join(part)
}

struct Golden {
    expected: SafetensorsStore,
    prefix: Tensor<3>,
    /// The ids of each row without padding.
    texts: Vec<Vec<u32>>,
}

impl Golden {
    fn open(part: &str) -> Self {
        let expected = SafetensorsStore::open(&folder(part).join("expected.safetensors")).unwrap();
        let prefix: Tensor<3> = Tensor::from_data(expected.read("prefix_embeds").unwrap(), &Device::flex());
        let [rows, queries, _] = prefix.dims();
        let ids = integers(&expected, "input_ids");
        let mask = integers(&expected, "attention_mask");
        let (tokens, all) = (ids.len() / rows, mask.len() / rows);
        let texts = (0..rows)
            .map(|row| {
                let mask = &mask[row * all + queries..(row + 1) * all];
                let ids = ids[row * tokens..(row + 1) * tokens].iter().zip(mask);
                ids.filter(|(_, real)| **real == 1)
                    .map(|(id, _)| *id as u32)
                    .collect()
            })
            .collect();
        Self {
            expected,
            prefix,
            texts,
        }
    }

    /// Compares the first `real` places of each row of `actual` `[batch, places, vocabulary]`.
    fn check_logits(&self, actual: Tensor<3>, real: &[usize]) {
        let [_, places, vocabulary] = actual.dims();
        let actual: Vec<f32> = actual.into_data().iter().collect();
        let expected: Vec<f32> = self.expected.read("logits").unwrap().iter().collect();
        assert_eq!(actual.len(), expected.len());
        let largest = expected
            .iter()
            .fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (row, real) in real.iter().enumerate() {
            let real = row * places * vocabulary..(row * places + real) * vocabulary;
            for (actual, expected) in actual[real.clone()].iter().zip(&expected[real]) {
                assert!(
                    (actual - expected).abs() <= 2e-4 * largest,
                    "row {row}: {actual} instead of {expected}"
                );
            }
        }
    }

    fn check_loss(&self, model: &dyn LanguageModel, examples: &[TextExample]) {
        let actual: f64 = model.loss(self.prefix.clone(), examples).unwrap().into_scalar();
        let expected = self.expected.read("loss").unwrap().iter::<f64>().next().unwrap();
        assert!(
            (actual - expected).abs() <= 1e-5 * expected,
            "{actual} instead of {expected}"
        );
    }

    /// A decoder-only model: logits at every real place, and the loss of the texts behind the prefix.
    fn check_decoder(&self, model: &dyn LanguageModel, logits: Tensor<3>) {
        let queries = self.prefix.dims()[1];
        let real: Vec<usize> = self.texts.iter().map(|text| queries + text.len()).collect();
        self.check_logits(logits, &real);
        let examples: Vec<TextExample> = self
            .texts
            .iter()
            .map(|text| TextExample {
                prompt: Vec::new(),
                target: text.clone(),
            })
            .collect();
        self.check_loss(model, &examples);
    }
}

fn integers(store: &SafetensorsStore, name: &str) -> Vec<i64> {
    store.read(name).unwrap().iter::<i64>().collect()
}

#[test]
fn llama_agrees_with_the_reference() {
    let golden = Golden::open("llama");
    let model = Llama::from_hugging_face(&folder("llama"), &Device::flex()).unwrap();
    let logits = model.logits(golden.prefix.clone(), &golden.texts).unwrap();
    golden.check_decoder(&model, logits);
}

#[test]
fn opt_agrees_with_the_reference() {
    let golden = Golden::open("opt");
    let model = Opt::from_hugging_face(&folder("opt"), &Device::flex()).unwrap();
    let logits = model.logits(golden.prefix.clone(), &golden.texts).unwrap();
    golden.check_decoder(&model, logits);
}

#[test]
fn t5_agrees_with_the_reference_with_either_gelu() {
    for part in ["t5", "t5-erf"] {
        let golden = Golden::open(part);
        let model = T5::from_hugging_face(&folder(part), &Device::flex()).unwrap();
        let labels = integers(&golden.expected, "labels");
        let targets: Vec<Vec<u32>> = labels
            .chunks(labels.len() / golden.texts.len())
            .map(|row| row.iter().filter(|id| **id >= 0).map(|id| *id as u32).collect())
            .collect();
        let read: Vec<Vec<u32>> = targets
            .iter()
            .map(|target| target[..target.len() - 1].to_vec())
            .collect();
        let logits = model.logits(golden.prefix.clone(), &golden.texts, &read).unwrap();
        let real: Vec<usize> = targets.iter().map(Vec::len).collect();
        golden.check_logits(logits, &real);
        let examples: Vec<TextExample> = golden
            .texts
            .iter()
            .zip(targets)
            .map(|(prompt, target)| TextExample {
                prompt: prompt.clone(),
                target,
            })
            .collect();
        golden.check_loss(&model, &examples);
    }
}

#[test]
fn beam_search_writes_what_the_reference_writes() {
    let golden = Golden::open("llama");
    let model = Llama::from_hugging_face(&folder("llama"), &Device::flex()).unwrap();
    let expected: Vec<u32> = integers(&golden.expected, "beam4_ids")
        .iter()
        .map(|id| *id as u32)
        .collect();
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder("llama").join("config.json")).unwrap()).unwrap();
    let settings = GenerationConfig {
        num_beams: 4,
        max_new_tokens: expected.len(),
        end_tokens: vec![config["eos_token_id"].as_u64().unwrap() as u32],
        ..Default::default()
    };
    let prefix = golden.prefix.clone().narrow(0, 0, 1);
    let prompt = &golden.texts[..1];
    let mut text = model.start(prefix, prompt).unwrap();
    let written = generate(text.as_mut(), prompt, &settings, None).unwrap();
    assert_eq!(written[0].ids, expected);
}
