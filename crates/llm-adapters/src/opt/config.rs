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

/// `config.json` with the defaults of `transformers`' `OPTConfig`.
#[derive(Deserialize)]
struct HuggingFaceConfig {
    model_type: String,
    hidden_size: usize,
    word_embed_proj_dim: Option<usize>,
    ffn_dim: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    activation_function: Option<String>,
    #[serde(default = "yes")]
    do_layer_norm_before: bool,
    #[serde(default, rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: bool,
    #[serde(default = "yes")]
    enable_bias: bool,
    #[serde(default = "yes")]
    layer_norm_elementwise_affine: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn yes() -> bool {
    true
}

impl HuggingFaceConfig {
    fn resolve(self) -> Result<OptConfig, String> {
        if self.model_type != "opt" {
            return Err(format!("its model_type is `{}`, not `opt`", self.model_type));
        }
        if let Some(activation) = self.activation_function.filter(|name| name != "relu") {
            return Err(format!(
                "its activation is `{activation}`; only `relu` is supported"
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
