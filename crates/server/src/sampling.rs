//! How a client wants its text written, in OpenAI's words and, beyond them, in those of `transformers`.

use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::time::Instant;

use blip2::GenerationConfig;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::error::Refusal;
use crate::options::Limits;

/// Most beams of a text.
const BEAMS: usize = 16;
/// Temperatures by which tokens are drawn.
const TEMPERATURES: RangeInclusive<f32> = 0.001..=2.0;

/// The parameters that decide how a text is written. Without temperature the likeliest is taken.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Sampling {
    /// Most new tokens.
    max_tokens: Option<usize>,
    /// The same by its newer name.
    max_completion_tokens: Option<usize>,
    /// Divisor of the logits, 0.001 to 2; 0 takes the likeliest tokens.
    temperature: Option<f32>,
    /// Draw from the likeliest tokens that together reach this probability; 0 takes the likeliest.
    top_p: Option<f32>,
    /// Draw from this many likeliest tokens; 0, the default, for all.
    top_k: Option<usize>,
    /// Decides what is drawn; the same seed gives the same text.
    seed: Option<i64>,
    /// Beams, up to 16; their text comes at the end.
    num_beams: Option<usize>,
    /// Exponent of the length by which beams' scores are divided.
    length_penalty: Option<f64>,
    /// Factor against tokens that are there already, 0.0001 to 10000; 1 is none.
    repetition_penalty: Option<f32>,
}

impl Sampling {
    /// `base` where nothing else is said; more tokens than `limits` allow are refused.
    pub(crate) fn settings(
        &self,
        base: &GenerationConfig,
        limits: &Limits,
    ) -> Result<GenerationConfig, Refusal> {
        let mut settings = base.clone();
        settings.max_new_tokens = settings.max_new_tokens.min(limits.tokens);
        if let Some(tokens) = self.max_completion_tokens.or(self.max_tokens) {
            if !(1..=limits.tokens).contains(&tokens) {
                let message = format!(
                    "max_tokens is {tokens}; this server writes 1 to {} tokens",
                    limits.tokens
                );
                return Err(Refusal::parameter("max_tokens", message));
            }
            settings.max_new_tokens = tokens;
            settings.min_new_tokens = settings.min_new_tokens.min(tokens);
        }
        // A model's usual beams are no wish of the client.
        settings.num_beams = settings.num_beams.min(limits.rows).max(1);
        match self.temperature {
            Some(temperature) if temperature != 0.0 && !TEMPERATURES.contains(&temperature) => {
                return Err(Refusal::parameter(
                    "temperature",
                    "temperature must be 0, or lie from 0.001 to 2",
                ));
            }
            Some(0.0) => settings.sample = false,
            _ if self.top_p == Some(0.0) => settings.sample = false,
            Some(temperature) => {
                (settings.sample, settings.temperature, settings.num_beams) = (true, temperature, 1);
                settings.top_k = 0;
            }
            None if self.top_p.is_some_and(|top_p| top_p < 1.0) || self.top_k.is_some() => {
                (settings.sample, settings.num_beams, settings.top_k) = (true, 1, 0);
            }
            None => {}
        }
        if let Some(beams) = self.num_beams {
            if !(1..=BEAMS.min(limits.rows)).contains(&beams) {
                let message = format!(
                    "num_beams is {beams}; this server writes with 1 to {}",
                    BEAMS.min(limits.rows)
                );
                return Err(Refusal::parameter("num_beams", message));
            }
            settings.num_beams = beams;
        }
        settings.top_p = self.top_p.filter(|top_p| *top_p != 0.0).unwrap_or(settings.top_p);
        settings.top_k = self.top_k.unwrap_or(settings.top_k);
        settings.length_penalty = self.length_penalty.unwrap_or(settings.length_penalty);
        settings.repetition_penalty = self.repetition_penalty.unwrap_or(settings.repetition_penalty);
        settings.seed = match self.seed {
            Some(seed) => seed.cast_unsigned(),
            None => any_number(),
        };
        settings.check()?;
        Ok(settings)
    }
}

/// Another one each time.
pub(crate) fn any_number() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<GenerationConfig, Refusal> {
        let base = GenerationConfig {
            num_beams: 5,
            max_new_tokens: 30,
            min_new_tokens: 8,
            ..Default::default()
        };
        let sampling: Sampling = serde_json::from_str(json).unwrap();
        sampling.settings(&base, &Limits::default())
    }

    #[test]
    fn temperature_decides_whether_tokens_are_drawn() {
        let plain = settings("{}").unwrap();
        assert_eq!(
            (plain.sample, plain.num_beams, plain.max_new_tokens),
            (false, 5, 30)
        );
        let cold = settings(r#"{"temperature": 0, "max_tokens": 3}"#).unwrap();
        assert_eq!(
            (
                cold.sample,
                cold.num_beams,
                cold.max_new_tokens,
                cold.min_new_tokens
            ),
            (false, 5, 3, 3)
        );
        let narrowest = settings(r#"{"temperature": 0.7, "top_p": 0}"#).unwrap();
        assert_eq!((narrowest.sample, narrowest.top_p), (false, 1.0));
        let warm = settings(r#"{"temperature": 0.7, "seed": -1}"#).unwrap();
        assert_eq!(
            (warm.sample, warm.num_beams, warm.top_k, warm.seed),
            (true, 1, 0, u64::MAX)
        );
        let narrow =
            settings(r#"{"top_p": 0.5, "top_k": 7, "max_completion_tokens": 4, "max_tokens": 9}"#).unwrap();
        assert_eq!(
            (narrow.sample, narrow.top_p, narrow.top_k, narrow.max_new_tokens),
            (true, 0.5, 7, 4)
        );
        assert_ne!(settings("{}").unwrap().seed, settings("{}").unwrap().seed);
    }

    #[test]
    fn usual_beams_fit_the_rows() {
        let base = GenerationConfig {
            num_beams: 5,
            ..Default::default()
        };
        let limits = Limits {
            rows: 2,
            ..Limits::default()
        };
        let settings = Sampling::default().settings(&base, &limits).unwrap();
        assert_eq!(settings.num_beams, 2);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for json in [
            r#"{"max_tokens": 0}"#,
            r#"{"max_tokens": 1025}"#,
            r#"{"temperature": 2.1}"#,
            r#"{"temperature": -0.1}"#,
            r#"{"temperature": 1e-38}"#,
            r#"{"top_p": -0.1}"#,
            r#"{"top_p": 1.5}"#,
            r#"{"num_beams": 0}"#,
            r#"{"num_beams": 17}"#,
            r#"{"repetition_penalty": 0}"#,
            r#"{"repetition_penalty": 1e-40}"#,
            r#"{"repetition_penalty": 1e30}"#,
        ] {
            assert!(settings(json).is_err(), "{json}");
        }
    }
}
