//! The section of a recipe that says which encoder looks at the pictures, and whether it learns.

use blip2::EncoderConfig;
use serde::{Deserialize, Serialize};

use crate::LayerRule;

/// The encoder, and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderRecipe {
    /// Which it is.
    #[serde(flatten)]
    pub config: EncoderConfig,
    /// Whether it is trained along with the rest, in single precision; else it is frozen, and the same bit for bit at the end.
    #[serde(default)]
    pub train: bool,
    /// What the learning rate is multiplied with for each layer further from the last: 0.9 to 0.95 in the paper's fine-tuning.
    #[serde(default = "one")]
    pub layer_decay: f64,
    /// Which tensors count as which layer.
    #[serde(default)]
    pub layer_rule: LayerRule,
    /// Share of the pictures that pass by the branches of the last block in training; less in those before.
    #[serde(default)]
    pub drop_path: f64,
}

fn one() -> f64 {
    1.0
}

impl EncoderRecipe {
    /// The encoder of `config`, frozen.
    pub fn frozen(config: EncoderConfig) -> Self {
        Self {
            config,
            train: false,
            layer_decay: one(),
            layer_rule: LayerRule::default(),
            drop_path: 0.0,
        }
    }

    /// What cannot work.
    ///
    /// # Errors
    /// A sentence with the key at fault.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            return Err(format!(
                "encoder.layer_decay is {}: it must lie above 0 and at most at 1",
                self.layer_decay
            ));
        }
        if !(0.0..1.0).contains(&self.drop_path) {
            return Err(format!(
                "encoder.drop_path is {}: it is a share, from 0 to below 1",
                self.drop_path
            ));
        }
        if !self.train && (self.layer_decay != 1.0 || self.drop_path != 0.0) {
            return Err(
                "encoder.layer_decay and encoder.drop_path mean nothing while the encoder is frozen: set encoder.train = true"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
