//! The sizes of a T5 model, from a Hugging Face `config.json`.

use std::path::Path;

use blip2_core::weights::WeightError;
use serde::Deserialize;

use crate::config::{LARGEST, MOST_LAYERS, check_sizes, read_config};

/// Which GELU opens the gate of the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateActivation {
    /// With the error function: what BLIP-2 puts into FlanT5 (LAVIS `blip2_t5.py`).
    Gelu,
    /// With the hyperbolic tangent: T5 1.1 and FlanT5 by themselves.
    GeluTanh,
}

/// Sizes and constants of one T5 model with a gated feed-forward network (T5 1.1, FlanT5).
#[derive(Clone, Debug, PartialEq)]
pub struct T5Config {
    /// Width of the embeddings and of both residual streams.
    pub hidden_size: usize,
    /// Width inside of the gated feed-forward network.
    pub intermediate_size: usize,
    /// Number of encoder layers.
    pub encoder_layers: usize,
    /// Number of decoder layers.
    pub decoder_layers: usize,
    /// Heads of each attention.
    pub heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Rows of the embedding and of the output layer.
    pub vocabulary_size: usize,
    /// Distances that the position bias tells apart.
    pub distance_buckets: usize,
    /// From this distance on all are one.
    pub longest_distance: usize,
    /// Added to the mean square in each normalisation.
    pub norm_epsilon: f64,
    /// Activation of the gate.
    pub activation: GateActivation,
    /// Whether the output layer is the embedding. Configurations are not to be trusted with it: [`super::T5::from_hugging_face`]
    /// goes by whether the weights hold an output layer.
    pub tied: bool,
    /// Whether the decoder's output is divided by the root of its width before the output layer.
    pub scaled_output: bool,
    /// Id that the decoder reads first.
    pub start_token: u32,
}

impl T5Config {
    /// Reads a Hugging Face `config.json`, unchanged.
    ///
    /// # Errors
    /// [`WeightError`] where the file cannot be read, belongs to another family, or asks for something that is not
    /// supported: another activation, or a feed-forward network without a gate.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        read_config(file, "T5 configuration", HuggingFaceConfig::resolve)
    }

    /// Sizes that contradict one another, or that would make the allocation of the model fail, are errors.
    fn checked(self) -> Result<Self, String> {
        check_sizes(&[
            ("hidden size", self.hidden_size, LARGEST),
            ("intermediate size", self.intermediate_size, LARGEST),
            ("number of encoder layers", self.encoder_layers, MOST_LAYERS),
            ("number of decoder layers", self.decoder_layers, MOST_LAYERS),
            ("number of heads", self.heads, LARGEST),
            ("head width", self.head_width, LARGEST),
            ("vocabulary size", self.vocabulary_size, LARGEST),
            ("number of distance buckets", self.distance_buckets, LARGEST),
            ("longest distance", self.longest_distance, LARGEST),
        ])?;
        if !self.distance_buckets.is_multiple_of(4) || self.longest_distance <= self.distance_buckets / 2 {
            return Err(format!(
                "{} distance buckets up to a distance of {} are not supported: buckets must be a multiple of 4, and the \
                 distance above half of them",
                self.distance_buckets, self.longest_distance
            ));
        }
        if self.start_token as usize >= self.vocabulary_size {
            return Err(format!(
                "the decoder starts with id {}, outside of the vocabulary of {}",
                self.start_token, self.vocabulary_size
            ));
        }
        if self.norm_epsilon.is_nan() || self.norm_epsilon < 0.0 {
            return Err(format!(
                "the normalisation's epsilon {} must be positive",
                self.norm_epsilon
            ));
        }
        Ok(self)
    }
}

/// `config.json`; what it leaves out has the value of `transformers`' `T5Config`.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFaceConfig {
    model_type: String,
    d_model: usize,
    d_ff: usize,
    d_kv: usize,
    num_layers: usize,
    /// As many as the encoder's where it is not given.
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    vocab_size: usize,
    relative_attention_num_buckets: usize,
    relative_attention_max_distance: usize,
    layer_norm_epsilon: f64,
    feed_forward_proj: String,
    dense_act_fn: Option<String>,
    tie_word_embeddings: bool,
    scale_decoder_outputs: Option<bool>,
    decoder_start_token_id: u32,
}

impl Default for HuggingFaceConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            d_model: 512,
            d_ff: 2048,
            d_kv: 64,
            num_layers: 6,
            num_decoder_layers: None,
            num_heads: 8,
            vocab_size: 32_128,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".to_owned(),
            dense_act_fn: None,
            tie_word_embeddings: true,
            scale_decoder_outputs: None,
            // `T5Config` has none; its padding starts the decoder of every published T5.
            decoder_start_token_id: 0,
        }
    }
}

impl HuggingFaceConfig {
    fn resolve(self) -> Result<T5Config, String> {
        if self.model_type != "t5" {
            return Err(format!("its model_type is `{}`, not `t5`", self.model_type));
        }
        let Some(gate) = self.feed_forward_proj.strip_prefix("gated-") else {
            return Err(format!(
                "its feed-forward network is `{}`; only gated ones (T5 1.1, FlanT5) are supported",
                self.feed_forward_proj
            ));
        };
        // `gated-gelu` alone means the tanh form, as in the original code; `dense_act_fn` says otherwise where it stands.
        let named = match gate {
            "gelu" => "gelu_new",
            other => other,
        };
        let activation = match self.dense_act_fn.as_deref().unwrap_or(named) {
            "gelu" => GateActivation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => GateActivation::GeluTanh,
            other => {
                return Err(format!(
                    "its activation is `{other}`; `gelu` and `gelu_new` are supported"
                ));
            }
        };
        T5Config {
            hidden_size: self.d_model,
            intermediate_size: self.d_ff,
            encoder_layers: self.num_layers,
            decoder_layers: self.num_decoder_layers.unwrap_or(self.num_layers),
            heads: self.num_heads,
            head_width: self.d_kv,
            vocabulary_size: self.vocab_size,
            distance_buckets: self.relative_attention_num_buckets,
            longest_distance: self.relative_attention_max_distance,
            norm_epsilon: self.layer_norm_epsilon,
            activation,
            tied: self.tie_word_embeddings,
            // Files from before that key scale where the embeddings are tied.
            scaled_output: self.scale_decoder_outputs.unwrap_or(self.tie_word_embeddings),
            start_token: self.decoder_start_token_id,
        }
        .checked()
    }
}
