//! What the two file formats call the parameters, and how they order the rows that the rotary embedding turns.

use std::collections::BTreeMap;

use blip2_core::weights::{GgufStore, NameMap, TensorInfo, TensorStore, WeightError};
use burn::tensor::TensorData;

use super::LlamaConfig;
use super::config::ROPE_FACTORS;

/// Names of `transformers`' `LlamaForCausalLM` and its kin.
pub(crate) const HUGGING_FACE: NameMap = NameMap {
    rename: |path| {
        let prefix = if path.starts_with("lm_head.") {
            ""
        } else {
            "model."
        };
        Some(format!("{prefix}{path}"))
    },
    // A tied head is sometimes stored a second time.
    ignored: |name| name == "lm_head.weight",
};

/// Names of llama.cpp's `llama`, `qwen2` and `qwen3` architectures.
pub(super) const GGUF: NameMap = NameMap {
    rename: |path| gguf_name(path, &LAYER),
    // Read with the configuration.
    ignored: |name| name == ROPE_FACTORS,
};

const LAYER: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name of the parameter at `path` in a GGUF file, whose names of a layer's parts stand in `layer_parts` beside ours.
pub(crate) fn gguf_name(path: &str, layer_parts: &[(&str, &str)]) -> Option<String> {
    let (module, kind) = path.rsplit_once('.')?;
    let Some((layer, part)) = module
        .strip_prefix("layers.")
        .and_then(|rest| rest.split_once('.'))
    else {
        let name = match module {
            "embed_tokens" => "token_embd",
            "norm" => "output_norm",
            "lm_head" => "output",
            _ => return None,
        };
        return Some(format!("{name}.{kind}"));
    };
    let (_, name) = layer_parts.iter().find(|(ours, _)| *ours == part)?;
    Some(format!("blk.{layer}.{name}.{kind}"))
}

/// A GGUF file of the `llama` architecture with the rows of query and key projections in half-split order.
///
/// llama.cpp turns neighbouring dimensions of a head together, Hugging Face those half a head apart; its converter
/// therefore interleaves the two halves of each head, and this undoes it. In its `qwen2` and `qwen3` architectures it turns
/// as Hugging Face does, and the rows are left as they are.
pub(super) struct HalfSplit<'a> {
    store: &'a GgufStore,
    head_width: usize,
}

impl<'a> HalfSplit<'a> {
    pub(super) fn new(store: &'a GgufStore, config: &LlamaConfig) -> Self {
        Self {
            store,
            head_width: config.head_width,
        }
    }
}

impl TensorStore for HalfSplit<'_> {
    fn label(&self) -> String {
        self.store.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        self.store.tensors()
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let data = self.store.read(name)?;
        if !name.ends_with(".attn_q.weight") && !name.ends_with(".attn_k.weight") {
            return Ok(data);
        }
        let shape = data.shape().clone();
        let values: Vec<f32> = data
            .try_into_vec()
            .map_err(|error| self.store.unusable(format!("tensor `{name}`: {error:?}")))?;
        let (half, columns) = (self.head_width / 2, values.len() / shape[0].max(1));
        let mut ordered = Vec::with_capacity(values.len());
        for row in 0..shape[0] {
            let (head, place) = (row / self.head_width, row % self.head_width);
            let source = head * self.head_width + place % half * 2 + place / half;
            ordered.extend_from_slice(&values[source * columns..(source + 1) * columns]);
        }
        Ok(TensorData::new(ordered, shape))
    }
}
