//! The sizes of a Gemma 3, from a Hugging Face `config.json` or from the metadata of a GGUF file.

use std::path::Path;

use blip2_core::weights::{GgufStore, GgufValue, TensorStore, WeightError};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{LARGEST, MOST_LAYERS, check_sizes, read_config};

const FORMAT: &str = "Gemma 3 configuration";
/// Every how many layers one sees all, where a file does not say.
const PATTERN: usize = 6;
const GLOBAL_THETA: f64 = 1e6;
const LOCAL_THETA: f64 = 1e4;
/// The one size whose scores are not scaled by the width of a head; its number of layers tells it in a GGUF file.
const LARGEST_MODEL_LAYERS: usize = 62;

/// Sizes and constants of one model of the Gemma 3 family.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemma3Config {
    /// Width of the embeddings and of the residual stream.
    pub hidden_size: usize,
    /// Width inside of the gated feed-forward network.
    pub intermediate_size: usize,
    /// For each layer, whether its tokens see a sliding window of those before them instead of all.
    pub sliding: Vec<bool>,
    /// Tokens in that window, the one that looks included.
    pub window: usize,
    /// Query heads of each layer.
    pub heads: usize,
    /// Key and value heads of each layer; each serves `heads / key_heads` query heads.
    pub key_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Factor on the scores of attention.
    pub score_scale: f64,
    /// Rows of the embedding and of the output layer.
    pub vocabulary_size: usize,
    /// Longest text, soft prompt included.
    pub positions: usize,
    /// Added to the mean square in each normalisation.
    pub norm_epsilon: f64,
    /// Base of the wavelengths of the rotary position embedding, in the layers that see all.
    pub rope_theta: f64,
    /// What positions are divided by in those layers: linear scaling.
    pub rope_factor: f64,
    /// The base in the layers with a window.
    pub local_rope_theta: f64,
    /// Whether the output layer is the embedding itself.
    pub tied: bool,
}

impl Gemma3Config {
    /// Reads a Hugging Face `config.json`, unchanged.
    ///
    /// # Errors
    /// [`WeightError`] where the file cannot be read, belongs to another family, or asks for something that is not supported:
    /// another activation, biases, caps on scores or logits, attention in both directions, or a rotary embedding that is scaled
    /// otherwise than linearly in the layers that see all.
    pub fn from_hugging_face(file: &Path) -> Result<Self, WeightError> {
        read_config(file, FORMAT, |raw: HuggingFaceConfig| {
            raw.resolve().and_then(Self::checked)
        })
    }

    /// Reads the metadata of a GGUF file of the `gemma3` architecture.
    ///
    /// # Errors
    /// [`WeightError::Format`] where a key is missing, of another type, or asks for something that is not supported.
    pub fn from_gguf(store: &GgufStore) -> Result<Self, WeightError> {
        let key = |key: &str| format!("gemma3.{key}");
        let size = |name: &str| store.required(&key(name), as_size);
        let optional_size = |name: &str| store.optional(&key(name), as_size);
        let optional = |name: &str| store.optional(&key(name), GgufValue::as_f64);
        for cap in ["attn_logit_softcapping", "final_logit_softcapping"] {
            if optional(cap)?.is_some_and(|cap| cap != 0.0) {
                return Err(store.unusable(capped(cap)));
            }
        }
        let rope_factor = match store.optional(&key("rope.scaling.type"), GgufValue::as_text)? {
            None | Some("none") => 1.0,
            Some("linear") => optional("rope.scaling.factor")?.unwrap_or(1.0),
            Some(kind) => return Err(store.unusable(scaled(kind))),
        };
        let (hidden_size, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let of_hidden = hidden_size.checked_div(heads).unwrap_or(0);
        let head_width = optional_size("attention.key_length")?.unwrap_or(of_hidden);
        let layers = size("block_count")?;
        let scored = match layers {
            LARGEST_MODEL_LAYERS => of_hidden,
            _ => head_width,
        };
        let pattern = optional_size("attention.sliding_window_pattern")?.unwrap_or(PATTERN);
        let embedding = store.tensors().get("token_embd.weight");
        let config = Self {
            hidden_size,
            intermediate_size: size("feed_forward_length")?,
            sliding: pattern_of(layers, pattern).map_err(|reason| store.unusable(reason))?,
            window: size("attention.sliding_window")?,
            heads,
            key_heads: optional_size("attention.head_count_kv")?.unwrap_or(heads),
            head_width,
            score_scale: (scored as f64).sqrt().recip(),
            vocabulary_size: embedding.map_or(0, |info| info.shape[0]),
            positions: size("context_length")?,
            norm_epsilon: store.required(&key("attention.layer_norm_rms_epsilon"), GgufValue::as_f64)?,
            rope_theta: optional("rope.freq_base")?.unwrap_or(GLOBAL_THETA),
            rope_factor,
            local_rope_theta: optional("rope.freq_base_swa")?.unwrap_or(LOCAL_THETA),
            tied: !store.tensors().contains_key("output.weight"),
        };
        config.checked().map_err(|reason| store.unusable(reason))
    }

    /// Sizes that contradict one another, or that would make the allocation of the model fail, are errors.
    fn checked(self) -> Result<Self, String> {
        check_sizes(&[
            ("hidden size", self.hidden_size, LARGEST),
            ("intermediate size", self.intermediate_size, LARGEST),
            ("number of layers", self.sliding.len(), MOST_LAYERS),
            ("sliding window", self.window, LARGEST),
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
        let positive = [
            ("factor on the scores", self.score_scale),
            ("rotary base", self.rope_theta),
            ("rotary factor", self.rope_factor),
            ("rotary base of the window", self.local_rope_theta),
        ];
        match positive
            .iter()
            .find(|(_, value)| !(*value > 0.0 && value.is_finite()))
        {
            Some((name, value)) => Err(format!("the {name} is {value}; it must be positive")),
            None if self.norm_epsilon >= 0.0 => Ok(self),
            None => Err(format!(
                "the normalisation's epsilon is {}; it must be positive",
                self.norm_epsilon
            )),
        }
    }
}

fn as_size(value: &GgufValue) -> Option<usize> {
    value.as_u64()?.try_into().ok()
}

fn scaled(kind: &str) -> String {
    format!(
        "its rotary embedding is scaled by `{kind}`; only `linear` is supported, in the layers that see all"
    )
}

fn capped(key: &str) -> String {
    format!("it sets `{key}`, which no Gemma 3 does and which is not supported")
}

/// Which of `layers` have a window, where every `pattern`-th has none.
fn pattern_of(layers: usize, pattern: usize) -> Result<Vec<bool>, String> {
    check_sizes(&[
        ("number of layers", layers, MOST_LAYERS),
        ("pattern of sliding windows", pattern, MOST_LAYERS),
    ])?;
    Ok((1..=layers).map(|layer| !layer.is_multiple_of(pattern)).collect())
}

/// `config.json`; what it leaves out has the value of `transformers`' `Gemma3TextConfig`.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFaceConfig {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    query_pre_attn_scalar: f64,
    sliding_window: usize,
    sliding_window_pattern: usize,
    layer_types: Option<Vec<LayerType>>,
    rope_theta: Option<f64>,
    rope_local_base_freq: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    /// By type of layer, since `transformers` 5.
    rope_parameters: Option<RopeByLayer>,
    hidden_activation: String,
    tie_word_embeddings: bool,
    attention_bias: bool,
    use_bidirectional_attention: Option<bool>,
    final_logit_softcapping: Value,
    attn_logit_softcapping: Value,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    SlidingAttention,
    FullAttention,
}

#[derive(Deserialize, Default)]
struct RopeByLayer {
    full_attention: Option<RopeParameters>,
    sliding_attention: Option<RopeParameters>,
}

#[derive(Deserialize, Default)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f64>,
}

impl Default for HuggingFaceConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_attention_heads: 8,
            num_key_value_heads: 4,
            head_dim: 256,
            vocab_size: 262_208,
            max_position_embeddings: 131_072,
            rms_norm_eps: 1e-6,
            query_pre_attn_scalar: 256.0,
            sliding_window: 4096,
            sliding_window_pattern: PATTERN,
            layer_types: None,
            rope_theta: None,
            rope_local_base_freq: None,
            rope_scaling: None,
            rope_parameters: None,
            hidden_activation: "gelu_pytorch_tanh".to_owned(),
            tie_word_embeddings: true,
            attention_bias: false,
            use_bidirectional_attention: None,
            final_logit_softcapping: Value::Null,
            attn_logit_softcapping: Value::Null,
        }
    }
}

impl RopeParameters {
    /// What positions are divided by.
    fn factor(&self) -> Result<f64, String> {
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(1.0),
            Some("linear") => Ok(self.factor.unwrap_or(1.0)),
            Some(kind) => Err(scaled(kind)),
        }
    }
}

impl HuggingFaceConfig {
    fn resolve(self) -> Result<Gemma3Config, String> {
        if self.model_type != "gemma3_text" {
            return Err(format!(
                "its model_type is `{}`, not `gemma3_text`",
                self.model_type
            ));
        }
        if self.hidden_activation != "gelu_pytorch_tanh" {
            return Err(format!(
                "its activation is `{}`; only `gelu_pytorch_tanh` is supported",
                self.hidden_activation
            ));
        }
        if self.attention_bias {
            return Err("its projections have biases (attention_bias), which are not supported".to_owned());
        }
        if self.use_bidirectional_attention == Some(true) {
            return Err(
                "its tokens see those behind them (use_bidirectional_attention), which is not supported"
                    .to_owned(),
            );
        }
        for (key, cap) in [
            ("final_logit_softcapping", &self.final_logit_softcapping),
            ("attn_logit_softcapping", &self.attn_logit_softcapping),
        ] {
            if !cap.is_null() {
                return Err(capped(key));
            }
        }
        let layers = self.num_hidden_layers;
        let sliding = match self.layer_types {
            Some(types) if types.len() != layers => {
                return Err(format!(
                    "it has the types of {} layers, but {layers} layers",
                    types.len()
                ));
            }
            Some(types) => types
                .iter()
                .map(|kind| *kind == LayerType::SlidingAttention)
                .collect(),
            None => pattern_of(layers, self.sliding_window_pattern)?,
        };
        let by_layer = self.rope_parameters.unwrap_or_default();
        let (full, near) = (
            by_layer.full_attention,
            by_layer.sliding_attention.unwrap_or_default(),
        );
        let full = full.or(self.rope_scaling).unwrap_or_default();
        if near.factor()? != 1.0 {
            return Err(scaled("linear in the layers with a window"));
        }
        Ok(Gemma3Config {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            sliding,
            window: self.sliding_window,
            heads: self.num_attention_heads,
            key_heads: self.num_key_value_heads,
            head_width: self.head_dim,
            score_scale: self.query_pre_attn_scalar.sqrt().recip(),
            vocabulary_size: self.vocab_size,
            positions: self.max_position_embeddings,
            norm_epsilon: self.rms_norm_eps,
            rope_theta: full.rope_theta.or(self.rope_theta).unwrap_or(GLOBAL_THETA),
            rope_factor: full.factor()?,
            local_rope_theta: near
                .rope_theta
                .or(self.rope_local_base_freq)
                .unwrap_or(LOCAL_THETA),
            tied: self.tie_word_embeddings,
        })
    }
}
