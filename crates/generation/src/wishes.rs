//! What somebody asks of a text, in place of how it is usually written.

use serde::Deserialize;

use crate::{EarlyStopping, GenerationConfig};

/// Settings of [`GenerationConfig`] of which each may be left open. Their names in files are those of `transformers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationWishes {
    /// Most new tokens.
    pub max_new_tokens: Option<usize>,
    /// No end before this many new tokens.
    pub min_new_tokens: Option<usize>,
    /// Beams of the search.
    pub num_beams: Option<usize>,
    /// When beam search is over.
    pub early_stopping: Option<EarlyStopping>,
    /// Texts a row.
    pub num_return_sequences: Option<usize>,
    /// Exponent of the length in the scores of beams.
    pub length_penalty: Option<f64>,
    /// Factor against tokens that are there already.
    pub repetition_penalty: Option<f32>,
    /// No run of this many tokens twice.
    pub no_repeat_ngram_size: Option<usize>,
    /// Whether tokens are drawn.
    #[serde(rename = "do_sample")]
    pub sample: Option<bool>,
    /// Divisor of the logits when sampling.
    pub temperature: Option<f32>,
    /// Draw from this many likeliest tokens.
    pub top_k: Option<usize>,
    /// Draw from the likeliest tokens that together reach this probability.
    pub top_p: Option<f32>,
    /// Decides what is drawn.
    #[serde(skip)]
    pub seed: Option<u64>,
}

impl GenerationWishes {
    /// More of anything than a text has: a bound for what people ask for, which keeps a slip of the finger from asking for all
    /// memory.
    pub const MOST: usize = 1 << 16;

    /// `base` where nothing is wished.
    pub fn over(&self, base: &GenerationConfig) -> GenerationConfig {
        GenerationConfig {
            max_new_tokens: self.max_new_tokens.unwrap_or(base.max_new_tokens),
            min_new_tokens: self.min_new_tokens.unwrap_or(base.min_new_tokens),
            num_beams: self.num_beams.unwrap_or(base.num_beams),
            early_stopping: self.early_stopping.unwrap_or(base.early_stopping),
            num_return_sequences: self.num_return_sequences.unwrap_or(base.num_return_sequences),
            length_penalty: self.length_penalty.unwrap_or(base.length_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            no_repeat_ngram_size: self.no_repeat_ngram_size.unwrap_or(base.no_repeat_ngram_size),
            sample: self.sample.unwrap_or(base.sample),
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            seed: self.seed.unwrap_or(base.seed),
            ..base.clone()
        }
    }

    /// The same with what people mean beside what they say: who narrows the draw wants one, texts that are searched for need as
    /// many beams, and a number of beams alone asks for no samples of a model that usually draws.
    pub fn meant(&self, base: &GenerationConfig) -> GenerationConfig {
        let kept = base.sample && self.num_beams.is_none() && self.sample.is_none();
        let sample = self.samples() || kept;
        let texts = self.num_return_sequences.unwrap_or(base.num_return_sequences);
        let usual = if sample && !base.sample { 1 } else { base.num_beams };
        // Drawn one by one, texts need no beams.
        let beams = if sample && usual == 1 { 1 } else { usual.max(texts) };
        let said = Self {
            sample: Some(sample),
            num_beams: self.num_beams.or(Some(beams)),
            ..self.clone()
        };
        said.over(base)
    }

    /// Whether samples are asked for.
    pub fn samples(&self) -> bool {
        self.sample.unwrap_or(self.narrows())
    }

    /// Whether a draw is narrowed, which makes no sense where none is wanted.
    pub fn narrows(&self) -> bool {
        self.top_p.is_some() || self.top_k.is_some() || self.temperature.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched() -> GenerationConfig {
        GenerationConfig {
            num_beams: 5,
            ..Default::default()
        }
    }

    #[test]
    fn who_narrows_the_draw_wants_one() {
        let narrow = GenerationWishes {
            top_p: Some(0.9),
            ..Default::default()
        };
        let meant = narrow.meant(&searched());
        assert_eq!((meant.sample, meant.num_beams, meant.top_p), (true, 1, 0.9));
        let said = narrow.over(&searched());
        assert_eq!((said.sample, said.num_beams, said.top_p), (false, 5, 0.9));
    }

    #[test]
    fn beams_are_as_many_as_texts_unless_these_are_drawn_one_by_one() {
        let texts = |sample| GenerationWishes {
            num_return_sequences: Some(7),
            sample,
            ..Default::default()
        };
        assert_eq!(texts(None).meant(&searched()).num_beams, 7);
        assert_eq!(texts(Some(true)).meant(&searched()).num_beams, 1);
    }

    #[test]
    fn a_number_of_beams_asks_for_no_samples_of_a_model_that_draws() {
        let drawn = GenerationConfig {
            sample: true,
            ..Default::default()
        };
        assert_eq!(GenerationWishes::default().meant(&drawn), drawn);
        let beams = GenerationWishes {
            num_beams: Some(3),
            ..Default::default()
        };
        assert!(!beams.meant(&drawn).sample);
    }
}
