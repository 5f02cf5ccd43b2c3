//! The shape of both towers, as `config.json` has it.

use std::path::Path;

use blip2_core::ModelError;
use blip2_core::weights::WeightError;
use serde::Deserialize;

use crate::vit::block::BlockConfig;
use crate::vit::config::{LARGEST, MOST_BLOCKS, check_multiple, check_sizes};
use crate::vit::hugging_face::{parse, wrong};
use crate::vit::{Activation, QkvBias, VisionTransformerConfig};

/// Both towers and what they are compared in.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The image tower.
    pub vision: VisionTransformerConfig,
    /// The text tower.
    pub text: ClipTextConfig,
    /// Width of the embeddings that are compared.
    pub projection_dim: usize,
}

/// Sizes of the text tower; what a file leaves out has the default of the `transformers` library.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the states.
    pub hidden_size: usize,
    /// Width within the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of the self-attention; they share the width.
    pub num_attention_heads: usize,
    /// Longest text.
    pub max_position_embeddings: usize,
    /// Activation of the feed-forward layer.
    pub hidden_act: Activation,
    /// Epsilon of every layer normalisation.
    pub layer_norm_eps: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f32,
    /// Id of the end token, whose state stands for the text.
    pub eos_token_id: u32,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            eos_token_id: 49_407,
        }
    }
}

/// What `config.json` says beside the image tower.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    text_config: ClipTextConfig,
    #[serde(default = "default_projection")]
    projection_dim: usize,
}

fn default_projection() -> usize {
    512
}

impl ClipConfig {
    /// Reads the `config.json` of a Hugging Face `CLIPModel`.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the file cannot be read; [`WeightError::Format`] where it is not the configuration of
    /// such a model.
    pub fn read(path: &Path) -> Result<Self, WeightError> {
        let file: ConfigFile = parse(path)?;
        let sizes = [("projection_dim", file.projection_dim, LARGEST)];
        check_sizes(&sizes)
            .and_then(|()| file.text_config.check())
            .map_err(|error| wrong(path, error.to_string()))?;
        Ok(Self {
            vision: VisionTransformerConfig::read(path)?,
            text: file.text_config,
            projection_dim: file.projection_dim,
        })
    }
}

impl ClipTextConfig {
    /// # Errors
    /// [`ModelError::Invalid`] where sizes are zero, beyond reason, or do not divide each other.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size, LARGEST * LARGEST),
            ("hidden_size", self.hidden_size, LARGEST),
            ("intermediate_size", self.intermediate_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, MOST_BLOCKS),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("max_position_embeddings", self.max_position_embeddings, LARGEST),
        ])?;
        check_multiple(
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
        )
    }

    /// The shape of its blocks.
    pub(super) fn block(&self) -> BlockConfig {
        BlockConfig {
            width: self.hidden_size,
            heads: self.num_attention_heads,
            inner: self.intermediate_size,
            activation: self.hidden_act,
            qkv_bias: QkvBias::All,
            causal: true,
            epsilon: self.layer_norm_eps,
            deviation: self.initializer_range,
            layer_scale: None,
        }
    }
}
