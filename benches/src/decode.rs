//! A language model that writes behind a soft prompt, from a GGUF file that llama.cpp reads, too.

use anyhow::{Context, Result, ensure};
use blip2_core::weights::GgufStore;
use blip2_generation::{GenerationConfig, generate};
use blip2_llm_adapters::{LlamaConfig, load_language_model};
use burn::tensor::{Device, Distribution, Tensor};
use serde::Deserialize;

use crate::captions::home;
use crate::frozen::Weights;
use crate::workload::{Phase, Workload};

/// Below the cache folder.
const FILE: &str = "assets/qwen2.5-coder-0.5b/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
/// Deviation of the soft prompt: that of the model's own word embeddings.
const DEVIATION: f64 = 0.02;

/// How a text is written, greedily.
#[derive(Deserialize)]
pub(crate) struct Decode {
    /// Places of the soft prompt.
    soft_tokens: usize,
    /// That are written, no fewer and no more.
    tokens: usize,
    #[serde(rename = "precision")]
    weights: Weights,
}

impl Decode {
    /// The soft prompt is limited by products, each further token by reading all weights.
    fn phases(&self, config: &LlamaConfig) -> Vec<Phase> {
        let width = config.hidden_size;
        let attention = 2 * (config.heads + config.key_heads) * config.head_width;
        let layer = width * (attention + 3 * config.intermediate_size);
        let head = width * config.vocabulary_size;
        let (layers, head) = ((config.layers * layer) as f64, head as f64);
        let prefill = 2.0 * (self.soft_tokens as f64 * layers + head);
        let read = (self.tokens - 1) as f64 * (layers + head) * self.weights.bytes();
        vec![self.weights.products(prefill), Phase::bytes(read)]
    }

    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let file = home()?.join(FILE);
        let absent = || format!("{} is fetched by `cargo xtask bench --setup`", file.display());
        let config = LlamaConfig::from_gguf(&GgufStore::open(&file).with_context(absent)?)?;
        let phases = self.phases(&config);
        let loaded = load_language_model(&file, self.weights.plan(device))?;
        let shape = [1, self.soft_tokens, config.hidden_size];
        let soft_prompt = Tensor::<3>::random(shape, Distribution::Normal(0.0, DEVIATION), device);
        let settings = GenerationConfig {
            max_new_tokens: self.tokens,
            min_new_tokens: self.tokens,
            end_tokens: loaded.tokenizer.ends(),
            ..GenerationConfig::default()
        };
        let nothing = [Vec::new()];
        let run = move || {
            let mut text = loaded.model.start(soft_prompt.clone(), &nothing)?;
            let written = generate(text.as_mut(), &nothing, &settings, None)?;
            let written = written.first().map_or(0, |text| text.ids.len());
            ensure!(
                written == self.tokens,
                "{written} tokens were written, not {}",
                self.tokens
            );
            Ok(())
        };
        Ok(Workload {
            phases,
            run: Box::new(run),
        })
    }
}
