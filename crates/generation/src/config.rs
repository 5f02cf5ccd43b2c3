//! What can be set.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{GenerationError, StopFlag};

/// Lowest temperature to sample by: logits divided by less may leave the numbers that they are kept in.
const LOWEST_TEMPERATURE: f32 = 1e-3;
/// The same for scores that the penalty multiplies and divides.
const PENALTIES: RangeInclusive<f32> = 1e-4..=1e4;

/// Settings of one generation. Names, meaning and defaults are those of `transformers`' `GenerationConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationConfig {
    /// Most new tokens a row, at least 1.
    pub max_new_tokens: usize,
    /// No end token before this many new tokens.
    pub min_new_tokens: usize,
    /// Beams a row; 1 is greedy search, or sampling.
    pub num_beams: usize,
    /// When beam search is over.
    pub early_stopping: EarlyStopping,
    /// Texts a row: as many samples, or the best of the beams.
    pub num_return_sequences: usize,
    /// Exponent of the length by which the score of a finished beam is divided: above 0 favours long texts (scores are
    /// negative), below 0 short ones.
    pub length_penalty: f64,
    /// Factor against tokens that are in the text already, 0.0001 to 10000; 1 is none.
    pub repetition_penalty: f32,
    /// No run of this many tokens twice; 0 allows it.
    pub no_repeat_ngram_size: usize,
    /// Draw tokens instead of taking the likeliest; with beams, draw the continuations that they compete with.
    pub sample: bool,
    /// Divisor of the logits when sampling, at least 0.001.
    pub temperature: f32,
    /// Draw from this many likeliest tokens only; 0 for all.
    pub top_k: usize,
    /// Draw from the likeliest tokens that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Decides what sampling draws, with the stream of each row.
    pub seed: u64,
    /// Any of these ends a text.
    pub end_tokens: Vec<u32>,
    /// Gives the writing up once it is raised. No part of what is written down.
    #[serde(skip)]
    pub stop: StopFlag,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 20,
            min_new_tokens: 0,
            num_beams: 1,
            early_stopping: EarlyStopping::default(),
            num_return_sequences: 1,
            length_penalty: 1.0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            seed: 0,
            end_tokens: Vec::new(),
            stop: StopFlag::default(),
        }
    }
}

/// When beam search is over for a row whose finished texts are as many as its beams: `early_stopping` of `transformers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EarlyStoppingValue", into = "EarlyStoppingValue")]
pub enum EarlyStopping {
    /// `false`: once the best running beam, scored at its present length, is no better than the worst finished text.
    #[default]
    Estimated,
    /// `true`: at once.
    WhenFull,
    /// `"never"`: once no running beam can become better than the worst finished text. Where long texts are favoured, that
    /// scores the best of them at the greatest length.
    Never,
}

/// As configuration files write it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum EarlyStoppingValue {
    Switch(bool),
    Word(EarlyStoppingWord),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EarlyStoppingWord {
    Never,
}

impl From<EarlyStoppingValue> for EarlyStopping {
    fn from(value: EarlyStoppingValue) -> Self {
        match value {
            EarlyStoppingValue::Switch(false) => Self::Estimated,
            EarlyStoppingValue::Switch(true) => Self::WhenFull,
            EarlyStoppingValue::Word(EarlyStoppingWord::Never) => Self::Never,
        }
    }
}

impl From<EarlyStopping> for EarlyStoppingValue {
    fn from(value: EarlyStopping) -> Self {
        match value {
            EarlyStopping::Estimated => Self::Switch(false),
            EarlyStopping::WhenFull => Self::Switch(true),
            EarlyStopping::Never => Self::Word(EarlyStoppingWord::Never),
        }
    }
}

impl GenerationConfig {
    /// Whether the settings agree with each other.
    ///
    /// # Errors
    /// [`GenerationError::Config`] with what is wrong.
    pub fn check(&self) -> Result<(), GenerationError> {
        let wrong = if self.max_new_tokens == 0 {
            "max_new_tokens must be at least 1"
        } else if self.num_beams == 0 {
            "num_beams must be at least 1"
        } else if self.num_return_sequences == 0 {
            "num_return_sequences must be at least 1"
        } else if self.num_beams > 1 && self.num_return_sequences > self.num_beams {
            "num_return_sequences is above num_beams: there are only as many texts as beams"
        } else if self.num_beams == 1 && !self.sample && self.num_return_sequences > 1 {
            "greedy search writes one text: for num_return_sequences above 1 ask for beams, or for samples"
        } else if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            "temperature must be above 0: for the likeliest token switch sampling off"
        } else if self.sample && self.temperature < LOWEST_TEMPERATURE {
            "temperature must be at least 0.001: for the likeliest token switch sampling off"
        } else if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            "top_p must lie above 0 and at most at 1"
        } else if !PENALTIES.contains(&self.repetition_penalty) {
            "repetition_penalty must lie from 0.0001 to 10000; 1 is none"
        } else if !self.length_penalty.is_finite() {
            "length_penalty must be a finite number"
        } else {
            return Ok(());
        };
        Err(GenerationError::Config(wrong))
    }
}
