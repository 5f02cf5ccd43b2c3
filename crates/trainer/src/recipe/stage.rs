//! The section of a recipe that decides one phase of training.

use std::path::PathBuf;

use blip2::Reads;
use blip2_core::Blocks;
use blip2_kernels::Products;
use blip2_objectives::{ItgMean, RepresentationOptions, RepresentationWeights};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Kept, OptimizerConfig, Schedule};

/// One phase of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe {
    /// Optimiser steps.
    pub steps: u64,
    /// Pairs a step.
    pub batch: usize,
    /// In how many parts the batch is cut: one after the other on one device, so that a part has to fit, not the batch. The
    /// mathematics is the reference's on as many devices.
    #[serde(default = "one")]
    pub parts: usize,
    /// Stage 1 alone: shares of the loss, `itg = 0.0` leaves out generation (the ablation of the paper's table 6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<RepresentationWeights>,
    /// Stage 1 alone: what generation is averaged over, where there are several parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itg_mean: Option<ItgMean>,
    /// Stage 1 alone: pairs of one picture, by the image ids of their set, are right answers to each other and no negatives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub image_ids: bool,
    /// Where it starts: a model or run folder of ours, what LAVIS saved (`.pth`), or a folder of `transformers`; relative to the
    /// folder in which the program was started, or to the home folder, or by its name in the Hugging Face cache. Absent: as the stage before leaves it, else as BERT gives
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Stage 2 alone: texts are cut in two at random, and the language model reads the beginning and learns the rest: prefix
    /// language modelling, as the paper does with FlanT5.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix_language_modelling: bool,
    /// Stage 2 alone: what the Q-Former reads beside the picture.
    #[serde(default, skip_serializing_if = "Reads::is_nothing")]
    pub reads: Reads,
    /// Stage 2 alone: where the Q-Former's text branch comes from, if `from` has none, since stage 2 drops it: what stage 1 saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_from: Option<PathBuf>,
    /// Stage 2 alone: so many neighbouring pairs are one text, in which the language model reads pictures and words in turn and learns
    /// the words of all: what in-context examples need (the paper's section 5). Decoder-only models alone; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interleaved: Option<usize>,
    /// Learning rate of tensors that start at random.
    pub schedule: Schedule,
    /// Learning rate of tensors that start pretrained, as a share of the schedule's.
    pub pretrained_rate: f64,
    /// Learning rate of the query tokens, likewise. Too fast, they become one: see `query_spread` in the log.
    pub query_rate: f64,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// The temperature is kept at or below this; absent: free, as the reference.
    pub maximum_temperature: Option<f32>,
    /// Precision of the matrix products of the loss and its gradients; everything else stays in single precision.
    #[serde(default)]
    pub precision: Precision,
    /// Blocks that the backward pass computes again, `"vision"`, `"qformer"` or `"language"`, one of them or a list: their memory is
    /// then what goes into them, and a step takes another forward pass of theirs.
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub recompute: Vec<Blocks>,
    /// How many steps may be skipped because their loss or gradient is no number: they leave the model as it is, and the names
    /// of their samples in the log. One more ends the run.
    #[serde(default)]
    pub skip_bad_steps: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Which checkpoints stay: the newest two where nothing is said.
    #[serde(default)]
    pub keep: Kept,
    /// Steps between lines of the log. In between, nothing is read from the device.
    pub log_every: u64,
    /// Sums over parts are taken in an order that does not depend on the number of ranks: these then give the same bits. It costs
    /// memory, a set of gradients for each doubling of the parts of a rank.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deterministic: bool,
    /// Steps after which ranks make sure that they still have the same parameters.
    #[serde(default = "thousand", skip_serializing_if = "is_thousand")]
    pub compare_every: u64,
}

fn one() -> usize {
    1
}

fn one_or_many<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Blocks>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(Blocks),
        Many(Vec<Blocks>),
    }
    Ok(match Given::deserialize(value)? {
        Given::One(blocks) => vec![blocks],
        Given::Many(blocks) => blocks,
    })
}

fn thousand() -> u64 {
    1000
}

fn is_thousand(steps: &u64) -> bool {
    *steps == thousand()
}

impl StageRecipe {
    /// The objectives of stage 1 as this section has them; `start_token` is the id of `[DEC]`.
    pub fn representation_options(&self, start_token: u32) -> RepresentationOptions {
        RepresentationOptions {
            start_token,
            weights: self.weights.unwrap_or_default(),
            itg_mean: self.itg_mean.unwrap_or_default(),
            ..RepresentationOptions::default()
        }
    }

    /// Neighbouring pairs that are one text of the language model.
    pub fn pairs_a_text(&self) -> usize {
        self.interleaved.unwrap_or(1)
    }

    /// What of the section called `name` cannot work on `samples` samples.
    ///
    /// # Errors
    /// A sentence with the key at fault.
    pub fn check(&self, name: &str, samples: u64) -> Result<(), String> {
        if self.batch < 2 || self.batch as u64 > samples {
            return Err(format!(
                "{name}.batch is {}: it must be at least 2, so that a pair has a negative, and at most the {samples} samples \
                 that there are",
                self.batch
            ));
        }
        if self.parts == 0 || !self.batch.is_multiple_of(self.parts) {
            return Err(format!(
                "{name}.parts is {}: it must divide the batch of {}",
                self.parts, self.batch
            ));
        }
        let (part, pairs) = (self.batch / self.parts, self.pairs_a_text());
        if pairs == 0 || !part.is_multiple_of(pairs) {
            return Err(format!(
                "{name}.interleaved is {pairs}: it must divide the {part} pairs of a part"
            ));
        }
        if pairs > 1 && name != "stage2" {
            return Err(format!(
                "{name}.interleaved means nothing: pictures and words take turns in stage 2"
            ));
        }
        let OptimizerConfig {
            betas,
            weight_decay,
            clip_norm,
            ..
        } = &self.optimizer;
        let numbers = [
            ("schedule.peak", self.schedule.peak),
            ("schedule.minimum", self.schedule.minimum),
            ("pretrained_rate", self.pretrained_rate),
            ("query_rate", self.query_rate),
            ("optimizer.weight_decay", *weight_decay),
        ];
        if let Some((key, value)) = numbers
            .into_iter()
            .find(|(_, value)| !(value.is_finite() && *value >= 0.0))
        {
            return Err(format!("{name}.{key} is {value}: it must not be negative"));
        }
        if let Some(beta) = betas.iter().find(|beta| !(0.0..1.0).contains(*beta)) {
            return Err(format!(
                "{name}.optimizer.betas holds {beta}: averages decay by a share from 0 to below 1"
            ));
        }
        if let Some(norm) = clip_norm.filter(|norm| !(norm.is_finite() && *norm > 0.0)) {
            return Err(format!(
                "{name}.optimizer.clip_norm is {norm}: it must be above 0; leave it out to clip nothing"
            ));
        }
        if self.checkpoint_every == 0 || self.log_every == 0 || self.compare_every == 0 {
            return Err(format!(
                "{name}.checkpoint_every, {name}.log_every and {name}.compare_every must be at least 1"
            ));
        }
        if let Some(decay) = self.optimizer.ema.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            return Err(format!(
                "{name}.optimizer.ema is {decay}: an average decays by a share between 0 and 1, say 0.999"
            ));
        }
        Ok(())
    }
}

impl StageRecipe {
    /// Whether only blocks of `kept` are to be computed again: others keep nothing for the backward pass of this stage.
    ///
    /// # Errors
    /// A sentence with the key at fault.
    pub fn check_recomputed(&self, name: &str, kept: impl IntoIterator<Item = Blocks>) -> Result<(), String> {
        let kept: Vec<Blocks> = kept.into_iter().collect();
        let Some(idle) = self.recompute.iter().find(|blocks| !kept.contains(blocks)) else {
            return Ok(());
        };
        let why = match idle {
            Blocks::Vision => "while the encoder is frozen, which keeps nothing for a backward pass",
            Blocks::QFormer | Blocks::Language => "in a stage that has no such blocks",
        };
        Err(format!(
            "{name}.recompute = \"{}\" means nothing {why}: drop it",
            idle.name()
        ))
    }
}

/// Precision of matrix products in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Operands rounded to bfloat16, sums in single precision.
    Bf16,
}

impl From<Precision> for Products {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}
