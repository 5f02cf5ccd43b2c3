//! The sizes of a Llama model, from a Hugging Face `config.json` or from the metadata of a GGUF file.

use std::path::Path;

use blip2_core::weights::{GgufStore, GgufValue, TensorStore, WeightError};
use serde::Deserialize;

use crate::config::{LARGEST, MOST_LAYERS, check_sizes, read_config};

const FORMAT: &str = "Llama configuration";

/// Which build of the family a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// Llama's own: no biases.
    #[default]
    Llama,
    /// Qwen2 and Qwen2.5 (Yang et al., 2024): biases on the projections to queries, keys and values.
    Qwen2,
}

impl Architecture {
    /// All that can be read.
    pub(crate) const ALL: [Self; 2] = [Self::Llama, Self::Qwen2];

    /// The name that `model_type` of a `config.json` and `general.architecture` of a GGUF file give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|architecture| architecture.name() == name)
    }

    /// Whether queries, keys and values are projected with a bias.
    pub(super) fn has_biases(self) -> bool {
        self == Self::Qwen2
    }
}

/// Sizes and constants of one model of the Llama family.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Which build it is.
    pub architecture: Architecture,
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
    /// supported: another activation, other biases than the architecture's, a scaled rotary embedding, or a sliding window.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        read_config(file, FORMAT, |raw: HuggingFaceConfig| {
            raw.resolve().and_then(Self::checked)
        })
    }

    /// Reads the metadata of a GGUF file of the `llama` or the `qwen2` architecture.
    ///
    /// # Errors
    /// [`WeightError::Format`] where a key is missing, of another type, or asks for something that is not supported.
    pub fn from_gguf(store: &GgufStore) -> Result<Self, WeightError> {
        let name = store.required("general.architecture", GgufValue::as_text)?;
        let architecture = Architecture::named(name).ok_or_else(|| {
            store.unusable(format!(
                "its architecture is `{name}`, not one of the Llama family"
            ))
        })?;
        let size = |key: &str| store.required(&format!("{name}.{key}"), as_size);
        let optional_size = |key: &str| store.optional(&format!("{name}.{key}"), as_size);
        if let Some(kind @ ("linear" | "yarn" | "longrope")) =
            store.optional(&format!("{name}.rope.scaling.type"), GgufValue::as_text)?
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
            architecture,
            hidden_size,
            intermediate_size: size("feed_forward_length")?,
            layers: size("block_count")?,
            heads,
            key_heads: optional_size("attention.head_count_kv")?.unwrap_or(heads),
            head_width,
            vocabulary_size: embedding.map_or(0, |info| info.shape[0]),
            positions: size("context_length")?,
            norm_epsilon: store.required(
                &format!("{name}.attention.layer_norm_rms_epsilon"),
                GgufValue::as_f64,
            )?,
            rope_theta: store
                .optional(&format!("{name}.rope.freq_base"), GgufValue::as_f64)?
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

/// `config.json`; what it leaves out has the value of `transformers`' `LlamaConfig` or `Qwen2Config`.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFaceConfig {
    model_type: String,
    hidden_size: usize,
    intermediate_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    /// As many as query heads where it is not given.
    num_key_value_heads: Option<usize>,
    /// What each head has of the hidden size where it is not given.
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
    hidden_act: String,
    tie_word_embeddings: bool,
    attention_bias: bool,
    mlp_bias: bool,
    use_sliding_window: bool,
}

impl Default for HuggingFaceConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            hidden_size: 4096,
            intermediate_size: None,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            vocab_size: None,
            max_position_embeddings: None,
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
            hidden_act: "silu".to_owned(),
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            use_sliding_window: false,
        }
    }
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
        let architecture = Architecture::named(&self.model_type)
            .ok_or_else(|| format!("its model_type is `{}`, not `llama` or `qwen2`", self.model_type))?;
        // Intermediate size, vocabulary size, positions.
        let usual = match architecture {
            Architecture::Llama => (11_008, 32_000, 2048),
            Architecture::Qwen2 => (22_016, 151_936, 32_768),
        };
        if self.hidden_act != "silu" {
            return Err(format!(
                "its activation is `{}`; only `silu` is supported",
                self.hidden_act
            ));
        }
        if self.attention_bias || self.mlp_bias {
            return Err(
                "its linear layers have biases (attention_bias, mlp_bias), which are not supported"
                    .to_owned(),
            );
        }
        if self.use_sliding_window {
            return Err(
                "its attention sees a sliding window (use_sliding_window), which is not supported".to_owned(),
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
            architecture,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size.unwrap_or(usual.0),
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            key_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_width: self
                .head_dim
                .or(self.hidden_size.checked_div(self.num_attention_heads))
                .unwrap_or(0),
            vocabulary_size: self.vocab_size.unwrap_or(usual.1),
            positions: self.max_position_embeddings.unwrap_or(usual.2),
            norm_epsilon: self.rms_norm_eps,
            rope_theta: theta.unwrap_or(DEFAULT_ROPE_THETA),
            tied: self.tie_word_embeddings,
        })
    }
}
