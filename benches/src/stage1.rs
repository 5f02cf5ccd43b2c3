//! A training step of stage 1, on stored features or behind a frozen encoder: three losses, all gradients, AdamW.

use anyhow::{Context, Result};
use blip2_core::{Initializer, VisionEncoder};
use blip2_objectives::{NegativeSource, RepresentationOptions, representation_loss};
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch};
use blip2_trainer::{Optimizer, OptimizerConfig};
use burn::tensor::{Device, Distribution, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::captions::token_ids;
use crate::encode::{self, Architecture};
use crate::frozen::Weights;
use crate::workload::{Precision, Workload};

/// Sizes of the step; the Q-Former is BERT-base with 32 queries.
#[derive(Deserialize)]
pub(crate) struct Stage1 {
    batch: usize,
    #[serde(flatten)]
    images: Images,
    /// Of each caption; by default captions of 6 to 20 words.
    text_tokens: Option<usize>,
    #[serde(default)]
    dropout: f64,
    #[serde(default)]
    precision: Precision,
}

/// Where image features come from.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Images {
    /// Stored: the same in every step.
    Given { image_tokens: usize, image_width: usize },
    /// A frozen encoder, its weights in bf16, makes them in every step.
    Live { encoder: Architecture },
}

impl Images {
    /// Tokens of an image and their width.
    fn sizes(self) -> [usize; 2] {
        match self {
            Self::Given {
                image_tokens,
                image_width,
            } => [image_tokens, image_width],
            Self::Live { encoder } => encoder.tokens_and_width(),
        }
    }

    /// What makes the features of a batch, on `device`, without autodiff.
    fn open(self, batch: usize, device: &Device) -> Result<Box<dyn Fn() -> Result<Tensor<3>>>> {
        let normal = Distribution::Normal(0.0, 1.0);
        match self {
            Self::Given { .. } => {
                let [tokens, width] = self.sizes();
                let features = Tensor::<3>::random([batch, tokens, width], normal, device);
                Ok(Box::new(move || Ok(features.clone())))
            }
            Self::Live { encoder } => {
                let side = encoder.config().image_size;
                let encoder = encoder.encoder(&Weights::Bf16.plan(device))?;
                let pixels = Tensor::<4>::random([batch, 3, side, side], normal, device);
                Ok(Box::new(move || Ok(encoder.encode(pixels.clone())?)))
            }
        }
    }

    /// Operations of the frozen encoder on a batch.
    fn operations(self, batch: usize) -> f64 {
        match self {
            Self::Given { .. } => 0.0,
            Self::Live { encoder } => {
                let [tokens, _] = encoder.tokens_and_width();
                batch as f64 * encode::operations(&encoder.config(), tokens)
            }
        }
    }
}

impl Stage1 {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let images = self.images.open(self.batch, device)?;
        let device = device.clone().autodiff();
        let [_, image_width] = self.images.sizes();
        let config = RepresentationConfig {
            qformer: QFormerConfig {
                encoder_hidden_size: image_width,
                hidden_dropout_prob: self.dropout,
                attention_probs_dropout_prob: self.dropout,
                ..QFormerConfig::default()
            },
            ..RepresentationConfig::default()
        };
        let model = RepresentationModel::new(&mut Initializer::new(1, &device), &config)?;
        let texts = TextBatch::new(token_ids(self.batch, self.text_tokens)?, &device)?;
        let operations = self.operations(&config, texts.tokens());
        let frozen = Precision::Bf16.products(self.images.operations(self.batch));
        let options = RepresentationOptions::default();
        let settings = adamw();
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut optimizer = Optimizer::new();
        let mut state = Some(model);
        let run = move || {
            let model = state.take().context("the last step failed")?;
            let features = Tensor::from_inner(images()?).to_device(&device);
            let loss = self.precision.scope(|| {
                let negatives = NegativeSource::Drawn(&mut generator);
                representation_loss(&model, features, &texts, &options, negatives)
            })?;
            let gradients = loss.terms.total().context("no term has a weight")?.backward();
            let (moved, norm) = optimizer.step(model, &gradients, &settings, &|_| 1e-4);
            anyhow::ensure!(norm.read().is_finite(), "the gradients are no numbers");
            state = Some(moved);
            Ok(())
        };
        Ok(Workload {
            phases: vec![self.precision.products(operations), frozen],
            run: Box::new(run),
        })
    }
}

/// What forward and backward pass take together for each product of the forward pass.
const TRAINING: usize = 3;

impl Stage1 {
    /// Operations of the matrix products of all four passes, attention's scores left out: images and texts are read once,
    /// matching reads three times as many pairs.
    fn operations(&self, config: &RepresentationConfig, text_tokens: usize) -> f64 {
        let (sizes, batch) = (&config.qformer, self.batch);
        let (width, layers, queries) = (sizes.hidden_size, sizes.num_hidden_layers, sizes.num_query_tokens);
        let reading = (0..layers).filter(|layer| sizes.reads_image(*layer)).count();
        let (text_rows, query_rows) = ((2 + 3) * batch * text_tokens, (1 + 3) * batch * queries);
        let layer = 4 * width * width + 2 * width * sizes.intermediate_size;
        let rows = (text_rows + query_rows) * layers * layer + query_rows * reading * 2 * width * width;
        let [image_tokens, image_width] = self.images.sizes();
        let images = batch * image_tokens * image_width * 2 * width * reading;
        let head = batch * text_tokens * width * (width + sizes.vocab_size);
        2.0 * (TRAINING * (rows + images + head)) as f64
    }
}

/// The paper's optimiser, without clipping.
pub(crate) fn adamw() -> OptimizerConfig {
    OptimizerConfig {
        betas: [0.9, 0.98],
        weight_decay: 0.05,
        clip_norm: None,
        ema: None,
    }
}
