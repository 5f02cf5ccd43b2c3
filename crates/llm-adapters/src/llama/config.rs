//! The sizes of a Llama model, from a Hugging Face `config.json` or from the metadata of a GGUF file.

use std::path::Path;

use blip2_core::weights::{GgufStore, GgufValue, TensorStore, WeightError};
use serde::Deserialize;

use crate::config::{LARGEST, MOST_LAYERS, check_sizes, read_config};

const FORMAT: &str = "Llama configuration";

/// Sizes and constants of one model of the Llama family.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Width of the embeddings and of the residual stream.
    pub hidden_size: usize,
    /// Width inside of the gated feed-forward network.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Query heads of each layer.
    pub heads: usize,
    /// Key and value heads of each layer; each serves `heads / key_heads` query heads.
    pub key_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Rows of the embedding and of the output layer.
    pub vocabulary_size: usize,
    /// Longest text, soft prompt included.
    pub positions: usize,
    /// Added to the mean square in each normalisation.
    pub norm_epsilon: f64,
    /// Base of the wavelengths of the rotary position embedding.
    pub rope_theta: f64,
    /// Whether the output layer is the embedding itself.
    pub tied: bool,
}

impl LlamaConfig {
    /// Reads a Hugging Face `config.json`, unchanged.
    ///
    /// # Errors
    /// [`WeightError`] where the file cannot be read, belongs to another family, or asks for something that is not
    /// supported: another activation, biases, or a scaled rotary embedding.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        read_config(file, FORMAT, |raw: HuggingFaceConfig| {
            raw.resolve().and_then(Self::checked)
        })
    }

    /// Reads the metadata of a GGUF file of the `llama` architecture.
    ///
    /// # Errors
    /// [`WeightError::Format`] where a key is missing, of another type, or asks for something that is not supported.
    pub fn from_gguf(store: &GgufStore) -> Result<Self, WeightError> {
        let size = |key: &str| store.required(&format!("llama.{key}"), as_size);
        let optional_size = |key: &str| store.optional(&format!("llama.{key}"), as_size);
        if let Some(kind @ ("linear" | "yarn" | "longrope")) =
            store.optional("llama.rope.scaling.type", GgufValue::as_text)?
        {
            return Err(store.unusable(scaled(kind)));
        }
        let (hidden_size, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let head_width = optional_size("attention.key_length")?
            .or(hidden_size.checked_div(heads))
            .unwrap_or(0);
        let rotated = optional_size("rope.dimension_count")?.unwrap_or(head_width);
        if rotated != head_width {
            return Err(store.unusable(format!(
                "it rotates {rotated} of {head_width} dimensions of a head, not all"
            )));
        }
        let embedding = store.tensors().get("token_embd.weight");
        let config = Self {
            hidden_size,
            intermediate_size: size("feed_forward_length")?,
            layers: size("block_count")?,
            heads,
            key_heads: optional_size("attention.head_count_kv")?.unwrap_or(heads),
            head_width,
            vocabulary_size: embedding.map_or(0, |info| info.shape[0]),
            positions: size("context_length")?,
            norm_epsilon: store.required("llama.attention.layer_norm_rms_epsilon", GgufValue::as_f64)?,
            rope_theta: store
                .optional("llama.rope.freq_base", GgufValue::as_f64)?
                .unwrap_or(DEFAULT_ROPE_THETA),
            tied: !store.tensors().contains_key("output.weight"),
        };
        config.checked().map_err(|reason| store.unusable(reason))
    }

    /// Sizes that contradict one another, or that would make the allocation of the model fail, are errors.
    fn checked(self) -> Result<Self, String> {
        check_sizes(&[
            ("hidden size", self.hidden_size, LARGEST),
            ("intermediate size", self.intermediate_size, LARGEST),
            ("number of layers", self.layers, MOST_LAYERS),
            ("number of heads", self.heads, LARGEST),
            ("number of key heads", self.key_heads, LARGEST),
            ("head width", self.head_width, LARGEST),
            ("vocabulary size", self.vocabulary_size, LARGEST),
            ("number of positions", self.positions, LARGEST),
        ])?;
        if !self.heads.is_multiple_of(self.key_heads) {
            return Err(format!(
                "{} heads cannot share {} key heads evenly",
                self.heads, self.key_heads
            ));
        }
        if !self.head_width.is_multiple_of(2) {
            return Err(format!(
                "a head of width {} has no halves to rotate",
                self.head_width
            ));
        }
        if !(self.norm_epsilon >= 0.0 && self.rope_theta > 0.0) {
            return Err(format!(
                "the normalisation's epsilon {} and the rotary base {} must be positive",
                self.norm_epsilon, self.rope_theta
            ));
        }
        Ok(self)
    }
}

const DEFAULT_ROPE_THETA: f64 = 10_000.0;

fn as_size(value: &GgufValue) -> Option<usize> {
    value.as_u64()?.try_into().ok()
}

fn scaled(kind: &str) -> String {
    format!("its rotary embedding is scaled by `{kind}`; only the plain one is supported")
}

/// `config.json` with the defaults of `transformers`' `LlamaConfig`.
#[derive(Deserialize)]
struct HuggingFaceConfig {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
    hidden_act: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

/// `rope_parameters` since `transformers` 5, `rope_scaling` before.
#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl HuggingFaceConfig {
    fn resolve(self) -> Result<LlamaConfig, String> {
        if self.model_type != "llama" {
            return Err(format!("its model_type is `{}`, not `llama`", self.model_type));
        }
        if let Some(activation) = self.hidden_act.filter(|name| name != "silu") {
            return Err(format!(
                "its activation is `{activation}`; only `silu` is supported"
            ));
        }
        if self.attention_bias || self.mlp_bias {
            return Err(
                "its linear layers have biases (attention_bias, mlp_bias), which are not supported"
                    .to_owned(),
            );
        }
        let rope = [self.rope_parameters, self.rope_scaling].into_iter().flatten();
        let mut theta = self.rope_theta;
        for parameters in rope {
            if let Some(kind) = parameters.rope_type.filter(|kind| kind != "default") {
                return Err(scaled(&kind));
            }
            theta = parameters.rope_theta.or(theta);
        }
        Ok(LlamaConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            key_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_width: self
                .head_dim
                .or(self.hidden_size.checked_div(self.num_attention_heads))
                .unwrap_or(0),
            vocabulary_size: self.vocab_size,
            positions: self.max_position_embeddings,
            norm_epsilon: self.rms_norm_eps,
            rope_theta: theta.unwrap_or(DEFAULT_ROPE_THETA),
            tied: self.tie_word_embeddings,
        })
    }
}
