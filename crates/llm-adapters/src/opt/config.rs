//! The sizes of an OPT model, from a Hugging Face `config.json`.

use std::path::Path;

use blip2_core::weights::WeightError;
use serde::Deserialize;

use crate::config::{LARGEST, MOST_LAYERS, check_sizes, read_config};

/// Sizes of one OPT model.
#[derive(Clone, Debug, PartialEq)]
pub struct OptConfig {
    /// Width of the token embeddings, and of what the bridge projects to.
    pub embedding_size: usize,
    /// Width of the residual stream; projections stand between it and the embeddings where the two differ.
    pub hidden_size: usize,
    /// Width inside of the feed-forward network.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Heads of each layer.
    pub heads: usize,
    /// Rows of the embedding, which is the output layer too.
    pub vocabulary_size: usize,
    /// Longest text, soft prompt included.
    pub positions: usize,
    /// Whether layers normalise before attention and feed-forward network; behind the residual otherwise (350M).
    pub norm_first: bool,
    /// Whether a normalisation follows the last layer.
    pub final_norm: bool,
}

impl OptConfig {
    /// Reads a Hugging Face `config.json`, unchanged.
    ///
    /// # Errors
    /// [`WeightError`] where the file cannot be read, belongs to another family, or asks for something that is not
    /// supported: another activation, an output layer of its own, or layers without biases.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        read_config(file, "OPT configuration", HuggingFaceConfig::resolve)
    }

    /// Sizes that contradict one another, or that would make the allocation of the model fail, are errors.
    fn checked(self) -> Result<Self, String> {
        check_sizes(&[
            ("embedding size", self.embedding_size, LARGEST),
            ("hidden size", self.hidden_size, LARGEST),
            ("intermediate size", self.intermediate_size, LARGEST),
            ("number of layers", self.layers, MOST_LAYERS),
            ("number of heads", self.heads, LARGEST),
            ("vocabulary size", self.vocabulary_size, LARGEST),
            ("number of positions", self.positions, LARGEST),
        ])?;
        if !self.hidden_size.is_multiple_of(self.heads) {
            return Err(format!(
                "{} heads cannot share the hidden size {} evenly",
                self.heads, self.hidden_size
            ));
        }
        Ok(self)
    }
}

/// `config.json`; what it leaves out has the value of `transformers`' `OPTConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFaceConfig {
    model_type: String,
    hidden_size: usize,
    /// As wide as the residual stream where it is not given.
    word_embed_proj_dim: Option<usize>,
    ffn_dim: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    activation_function: String,
    do_layer_norm_before: bool,
    #[serde(rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: bool,
    enable_bias: bool,
    layer_norm_elementwise_affine: bool,
    tie_word_embeddings: bool,
}

impl Default for HuggingFaceConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            hidden_size: 768,
            word_embed_proj_dim: None,
            ffn_dim: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            vocab_size: 50_272,
            max_position_embeddings: 2048,
            activation_function: "relu".to_owned(),
            do_layer_norm_before: true,
            remove_final_layer_norm: false,
            enable_bias: true,
            layer_norm_elementwise_affine: true,
            tie_word_embeddings: true,
        }
    }
}

impl HuggingFaceConfig {
    fn resolve(self) -> Result<OptConfig, String> {
        if self.model_type != "opt" {
            return Err(format!("its model_type is `{}`, not `opt`", self.model_type));
        }
        if self.activation_function != "relu" {
            return Err(format!(
                "its activation is `{}`; only `relu` is supported",
                self.activation_function
            ));
        }
        if !(self.enable_bias && self.layer_norm_elementwise_affine) {
            return Err(
                "its layers have no biases (enable_bias, layer_norm_elementwise_affine), which is not supported"
                    .to_owned(),
            );
        }
        if !self.tie_word_embeddings {
            return Err(
                "its output layer is not the embedding (tie_word_embeddings), which is not supported"
                    .to_owned(),
            );
        }
        OptConfig {
            embedding_size: self.word_embed_proj_dim.unwrap_or(self.hidden_size),
            hidden_size: self.hidden_size,
            intermediate_size: self.ffn_dim,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            vocabulary_size: self.vocab_size,
            positions: self.max_position_embeddings,
            norm_first: self.do_layer_norm_before,
            final_norm: self.do_layer_norm_before && !self.remove_final_layer_norm,
        }
        .checked()
    }
}
