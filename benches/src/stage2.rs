//! Training steps of stage 2 on stored features: loss, gradients of the bridge, AdamW, once for each language model.

use anyhow::{Context, Result};
use blip2_core::{Initializer, LanguageModel, TextExample};
use blip2_llm_adapters::{GateActivation, Opt, OptConfig, T5, T5Config};
use blip2_objectives::language_modelling_loss;
use blip2_qformer::{Bridge, QFormerConfig};
use blip2_trainer::Optimizer;
use burn::tensor::{Device, Distribution, Tensor};
use serde::Deserialize;

use crate::captions::token_ids;
use crate::frozen::{Weights, drawn};
use crate::stage1::adamw;
use crate::workload::{Precision, Workload};

/// Sizes of the steps; the Q-Former is BERT-base with 32 queries, the language models keep their weights in bf16.
#[derive(Deserialize)]
pub(crate) struct Stage2 {
    language_models: Vec<Family>,
    batch: usize,
    image_tokens: usize,
    image_width: usize,
    #[serde(default)]
    precision: Precision,
}

#[derive(Clone, Copy, Deserialize)]
enum Family {
    /// The size of OPT-125M.
    #[serde(rename = "opt_125m")]
    Opt,
    /// The size of OPT-2.7B.
    #[serde(rename = "opt_2.7b")]
    LargeOpt,
    /// The size of FlanT5-base.
    #[serde(rename = "flan_t5_base")]
    T5,
}

impl Family {
    /// A frozen model of random weights.
    fn model(self, device: &Device) -> Box<dyn LanguageModel> {
        let plan = &Weights::Bf16.plan(device);
        let opt = |[hidden_size, layers, heads]: [usize; 3]| {
            let config = OptConfig {
                embedding_size: hidden_size,
                hidden_size,
                intermediate_size: 4 * hidden_size,
                layers,
                heads,
                vocabulary_size: 50272,
                positions: 2048,
                norm_first: true,
                final_norm: true,
            };
            Box::new(drawn(Opt::new(config, 1, plan), plan))
        };
        match self {
            Self::Opt => opt([768, 12, 12]),
            Self::LargeOpt => opt([2560, 32, 32]),
            Self::T5 => {
                let config = T5Config {
                    hidden_size: 768,
                    intermediate_size: 2048,
                    encoder_layers: 12,
                    decoder_layers: 12,
                    heads: 12,
                    head_width: 64,
                    vocabulary_size: 32128,
                    distance_buckets: 32,
                    longest_distance: 128,
                    norm_epsilon: 1e-6,
                    activation: GateActivation::Gelu,
                    tied: false,
                    scaled_output: false,
                    start_token: 0,
                };
                Box::new(drawn(T5::new(config, 1, plan), plan))
            }
        }
    }

    /// What is given in front of a caption: to the encoder of an encoder-decoder model, an empty text of two special tokens.
    fn prompt(self) -> Vec<u32> {
        match self {
            Self::Opt | Self::LargeOpt => Vec::new(),
            Self::T5 => vec![1, 1],
        }
    }
}

impl Stage2 {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let steps = self
            .language_models
            .iter()
            .map(|family| self.step(*family, device));
        let mut steps = steps.collect::<Result<Vec<_>>>()?;
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(move || steps.iter_mut().try_for_each(|step| step())),
        })
    }

    /// What trains a bridge of its own by one step.
    fn step(&self, family: Family, device: &Device) -> Result<Box<dyn FnMut() -> Result<()>>> {
        let config = QFormerConfig {
            encoder_hidden_size: self.image_width,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            ..QFormerConfig::default()
        };
        let language_model = family.model(device);
        let device = device.clone().autodiff();
        let initializer = &mut Initializer::new(1, &device);
        let bridge = Bridge::new(initializer, &config, 1e-5, language_model.hidden_size())?;
        let shape = [self.batch, self.image_tokens, self.image_width];
        let features = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        // BERT's word pieces stand for the language model's own: both sides read the same ids.
        let examples: Vec<TextExample> = token_ids(self.batch, None)?
            .into_iter()
            .map(|target| TextExample {
                prompt: family.prompt(),
                target,
            })
            .collect();
        let (settings, precision) = (adamw(), self.precision);
        let mut optimizer = Optimizer::new();
        let mut state = Some(bridge);
        Ok(Box::new(move || {
            let bridge = state.take().context("the last step failed")?;
            let loss = precision.scope(|| {
                language_modelling_loss(&bridge, language_model.as_ref(), features.clone(), &examples)
            })?;
            let (moved, norm) = optimizer.step(bridge, &loss.backward(), &settings, &|_| 1e-4);
            anyhow::ensure!(norm.read().is_finite(), "the gradients are no numbers");
            state = Some(moved);
            Ok(())
        }))
    }
}
