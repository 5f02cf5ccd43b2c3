//! The sizes of a Llama model, from a Hugging Face `config.json` or from the metadata of a GGUF file.

use std::path::Path;

use blip2_core::weights::{GgufStore, GgufValue, TensorStore, WeightError};
use serde::Deserialize;

use super::rope::{RopeParameters, unsupported};
use crate::config::{LARGEST, MOST_LAYERS, check_sizes, read_config, said};

const FORMAT: &str = "Llama configuration";

/// Which build of the family a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// Llama's own, which is Mistral's, too: no biases.
    #[default]
    Llama,
    /// Qwen2 and Qwen2.5 (Yang et al., 2024): biases on the projections to queries, keys and values.
    Qwen2,
    /// Qwen3 (Yang et al., 2025): queries and keys are normalised, each head by itself.
    Qwen3,
}

impl Architecture {
    /// All that can be read.
    pub(crate) const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The name that `model_type` of a `config.json` and `general.architecture` of a GGUF file give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
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

    /// Whether each head's query and key is normalised before it is turned.
    pub(super) fn normalises_heads(self) -> bool {
        self == Self::Qwen3
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
    /// Longest text, soft prompt included: with a sliding window, as far as it sees all.
    pub positions: usize,
    /// Added to the mean square in each normalisation.
    pub norm_epsilon: f64,
    /// Base of the wavelengths of the rotary position embedding.
    pub rope_theta: f64,
    /// How many times its wavelength is stretched for each pair of dimensions of a head (Llama 3's scaling, for example); empty
    /// where none is.
    pub rope_factors: Vec<f64>,
    /// Whether the output layer is the embedding itself.
    pub tied: bool,
}

impl LlamaConfig {
    /// Reads a Hugging Face `config.json`, unchanged.
    ///
    /// # Errors
    /// [`WeightError`] where the file cannot be read, belongs to another family, or asks for something that is not
    /// supported: another activation, other biases than the architecture's, or a rotary embedding that is scaled by another
    /// rule than `linear` and `llama3`.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        read_config(file, FORMAT, |raw: HuggingFaceConfig| {
            raw.resolve().and_then(Self::checked)
        })
    }

    /// Reads the metadata of a GGUF file of the `llama`, the `qwen2` or the `qwen3` architecture.
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
        let optional_number = |key: &str| store.optional(&format!("{name}.{key}"), GgufValue::as_f64);
        let rope_factors = match store.optional(&format!("{name}.rope.scaling.type"), GgufValue::as_text)? {
            Some("linear") => {
                let factor = optional_number("rope.scaling.factor")?.unwrap_or(1.0);
                vec![factor; head_width.min(LARGEST) / 2]
            }
            Some(kind @ ("yarn" | "longrope")) => return Err(store.unusable(unsupported(kind))),
            _ if store.tensors().contains_key(ROPE_FACTORS) => store.read(ROPE_FACTORS)?.iter().collect(),
            _ => Vec::new(),
        };
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
            rope_theta: optional_number("rope.freq_base")?.unwrap_or(DEFAULT_ROPE_THETA),
            rope_factors,
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
        let factors = &self.rope_factors;
        if !factors.is_empty() && factors.len() != self.head_width / 2
            || factors
                .iter()
                .any(|factor| !(factor.is_finite() && *factor > 0.0))
        {
            return Err(format!(
                "the rotary embedding of a head of width {} needs {} positive factors, not {factors:?}",
                self.head_width,
                self.head_width / 2
            ));
        }
        Ok(self)
    }
}

const DEFAULT_ROPE_THETA: f64 = 10_000.0;

/// What `transformers` takes for the size of a sliding window where a file does not say.
const DEFAULT_WINDOW: usize = 4096;

/// Where llama.cpp keeps the factors of a rotary embedding that is scaled as Llama 3's.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

fn as_size(value: &GgufValue) -> Option<usize> {
    value.as_u64()?.try_into().ok()
}

/// `config.json`; what it leaves out has the value of `transformers`' class of that `model_type`.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFaceConfig {
    model_type: String,
    hidden_size: usize,
    intermediate_size: Option<usize>,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
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
    #[serde(deserialize_with = "said")]
    sliding_window: Option<Option<usize>>,
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
            sliding_window: None,
        }
    }
}

/// What a file need not say, by its `model_type`.
struct Usual {
    architecture: Architecture,
    intermediate_size: usize,
    /// As many as query heads where there is no number.
    key_heads: Option<usize>,
    /// What each head has of the hidden size where there is no number.
    head_width: Option<usize>,
    vocabulary_size: usize,
    positions: usize,
}

impl Usual {
    fn of(model_type: &str) -> Option<Self> {
        let llama = Self {
            architecture: Architecture::Llama,
            intermediate_size: 11_008,
            key_heads: None,
            head_width: None,
            vocabulary_size: 32_000,
            positions: 2048,
        };
        let qwen2 = Self {
            architecture: Architecture::Qwen2,
            intermediate_size: 22_016,
            vocabulary_size: 151_936,
            positions: 32_768,
            ..llama
        };
        Some(match model_type {
            "llama" => llama,
            "mistral" => Self {
                intermediate_size: 14_336,
                key_heads: Some(8),
                positions: 131_072,
                ..llama
            },
            "qwen2" => qwen2,
            "qwen3" => Self {
                architecture: Architecture::Qwen3,
                head_width: Some(128),
                ..qwen2
            },
            _ => return None,
        })
    }
}

impl HuggingFaceConfig {
    fn resolve(self) -> Result<LlamaConfig, String> {
        let usual = Usual::of(&self.model_type).ok_or_else(|| {
            format!(
                "its model_type is `{}`, not `llama`, `mistral`, `qwen2` or `qwen3`",
                self.model_type
            )
        })?;
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
        let head_width = self
            .head_dim
            .or(usual.head_width)
            .or(self.hidden_size.checked_div(self.num_attention_heads))
            .unwrap_or(0);
        let rope = self.rope_scaling.or(self.rope_parameters).unwrap_or_default();
        let rope_theta = rope.rope_theta.or(self.rope_theta).unwrap_or(DEFAULT_ROPE_THETA);
        // A text that fits into the window sees all of itself; a longer one is refused.
        let window = match self.use_sliding_window || self.model_type == "mistral" {
            true => self.sliding_window.unwrap_or(Some(DEFAULT_WINDOW)),
            false => None,
        };
        let positions = self.max_position_embeddings.unwrap_or(usual.positions);
        Ok(LlamaConfig {
            architecture: usual.architecture,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size.unwrap_or(usual.intermediate_size),
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            key_heads: self
                .num_key_value_heads
                .or(usual.key_heads)
                .unwrap_or(self.num_attention_heads),
            head_width,
            vocabulary_size: self.vocab_size.unwrap_or(usual.vocabulary_size),
            positions: window.map_or(positions, |window| window.min(positions)),
            norm_epsilon: self.rms_norm_eps,
            rope_theta,
            rope_factors: rope.factors(head_width, rope_theta)?,
            tied: self.tie_word_embeddings,
        })
    }
}
