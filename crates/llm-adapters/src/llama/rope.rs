//! Rotary embeddings of longer texts than a model was first trained on: wavelengths that are stretched.

use std::f64::consts::TAU;

use serde::Deserialize;

use crate::config::LARGEST;
use crate::rotary::frequency;

/// `rope_parameters` of a `config.json` since `transformers` 5, `rope_scaling` before.
#[derive(Deserialize, Default)]
pub(super) struct RopeParameters {
    pub(super) rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl RopeParameters {
    /// How many times the wavelength of each pair of dimensions of a head of `width` is as long as base `theta` has it; empty
    /// where none is stretched. As `transformers`' `modeling_rope_utils` has them.
    pub(super) fn factors(&self, width: usize, theta: f64) -> Result<Vec<f64>, String> {
        let kind = self.rope_type.as_deref().unwrap_or("default");
        let said = |key: &str, value: Option<f64>| match value {
            Some(value) if value.is_finite() && value > 0.0 => Ok(value),
            _ => Err(format!(
                "its rotary embedding is scaled by `{kind}`, which needs a positive `{key}`"
            )),
        };
        // An absurd width is refused beside the other sizes.
        let pairs = width.min(LARGEST) / 2;
        match kind {
            "default" => Ok(Vec::new()),
            "linear" => Ok(vec![said("factor", self.factor)?; pairs]),
            "llama3" => {
                let factor = said("factor", self.factor)?;
                let (low, high) = (
                    said("low_freq_factor", self.low_freq_factor)?,
                    said("high_freq_factor", self.high_freq_factor)?,
                );
                if low >= high {
                    return Err(format!(
                        "its rotary embedding is scaled by `{kind}`, whose `low_freq_factor` {low} is not below \
                         `high_freq_factor` {high}"
                    ));
                }
                let original = said(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings,
                )?;
                let stretched = |pair| {
                    // Short waves stay as they are, long ones are stretched, those between in part.
                    let turns = original * frequency(pair, width, theta) / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (kept + (1.0 - kept) / factor).recip()
                };
                Ok((0..pairs).map(stretched).collect())
            }
            _ => Err(unsupported(kind)),
        }
    }
}

/// Why a rotary embedding that is scaled by `kind` is refused.
pub(super) fn unsupported(kind: &str) -> String {
    format!("its rotary embedding is scaled by `{kind}`; `linear` and `llama3` are supported")
}
