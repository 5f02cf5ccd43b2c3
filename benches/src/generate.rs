//! Captions by the folder of the size of blip2-opt-2.7b.

use anyhow::{Context, Result};
use blip2::{Blip2, DecodeOptions, GenerationConfig, open_picture};
use burn::tensor::Device;
use serde::Deserialize;

use crate::captions::home;
use crate::frozen::Weights;
use crate::workload::{Phase, Workload};

/// How pictures are captioned.
#[derive(Deserialize)]
pub(crate) struct Generate {
    /// That are written, no fewer and no more.
    tokens: usize,
    #[serde(default = "one")]
    beams: usize,
    /// That are captioned together.
    #[serde(default = "one")]
    pictures: usize,
    #[serde(default, rename = "precision")]
    weights: Weights,
}

/// Numbers in the linear layers of OPT-2.7B, its output layer among them: all are read for each token.
const LANGUAGE_MODEL: usize = 32 * 12 * 2560 * 2560 + 50304 * 2560;
/// The same of ViT-g.
const VISION: usize = 39 * (4 * 1408 * 1408 + 2 * 1408 * 6144);
const IMAGE_TOKENS: usize = 257;
/// Soft prompt and the token that stands behind it.
const PREFIX: usize = 33;

/// Just enough to need all of the model.
#[derive(Deserialize)]
pub(crate) struct Load {
    #[serde(rename = "precision")]
    weights: Weights,
}

impl Load {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let first_token = Generate {
            tokens: 1,
            beams: 1,
            pictures: 1,
            weights: self.weights,
        };
        first_token.open(device)
    }
}

fn one() -> usize {
    1
}

impl Generate {
    /// Pictures and prompts are limited by products, each further token by reading the language model.
    fn phases(&self) -> Vec<Phase> {
        let prefill = 2.0 * (self.pictures * (IMAGE_TOKENS * VISION + PREFIX * LANGUAGE_MODEL)) as f64;
        let read = (self.tokens - 1) as f64 * LANGUAGE_MODEL as f64 * self.weights.bytes();
        vec![self.weights.products(prefill), Phase::bytes(read)]
    }

    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let home = home()?.join("peer");
        let folder = home.join("blip2-opt-2.7b-random");
        let phases = self.phases();
        let model = Blip2::from_pretrained(&folder, &home, self.weights.plan(device))
            .with_context(|| format!("{} is made by `cargo xtask bench --setup`", folder.display()))?;
        let picture = open_picture(&home.join("picture.jpg"), DecodeOptions::as_stored())?;
        let pictures = vec![picture; self.pictures];
        let prompts = vec![String::new(); self.pictures];
        let settings = GenerationConfig {
            max_new_tokens: self.tokens,
            min_new_tokens: self.tokens,
            num_beams: self.beams,
            ..model.caption_settings().clone()
        };
        let run = move || {
            let written = model.caption(&pictures, &prompts, &settings)?;
            let as_many = written.iter().filter(|text| text.ids.len() == self.tokens);
            anyhow::ensure!(
                as_many.count() == self.pictures,
                "{} tokens were to be written for each picture",
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
