//! What the two file formats call the parameters, and how they keep the scales of the normalisations.

use std::collections::BTreeMap;

use blip2_core::weights::{NameMap, TensorInfo, TensorStore, WeightError};
use burn::tensor::{DType, TensorData};

use crate::llama::gguf_name;

/// Names of llama.cpp's `gemma3` architecture.
pub(super) const GGUF: NameMap = NameMap {
    rename: |path| gguf_name(path, &LAYER),
    ignored: |_| false,
};

const LAYER: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The weights as `transformers` keeps them, whose normalisations scale by one more than what stands there. llama.cpp's
/// converter has added the one.
pub(super) struct ScalesFromOne<'a> {
    store: &'a dyn TensorStore,
    tensors: BTreeMap<String, TensorInfo>,
}

impl<'a> ScalesFromOne<'a> {
    pub(super) fn new(store: &'a dyn TensorStore) -> Self {
        let mut tensors = store.tensors().clone();
        for (_, info) in tensors.iter_mut().filter(|(name, _)| is_scale(name)) {
            // In half precision the one would swallow what is added to it.
            info.dtype = DType::F32;
        }
        Self { store, tensors }
    }
}

fn is_scale(name: &str) -> bool {
    name.ends_with("norm.weight")
}

impl TensorStore for ScalesFromOne<'_> {
    fn label(&self) -> String {
        self.store.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let data = self.store.read(name)?;
        if !is_scale(name) {
            return Ok(data);
        }
        let shape = data.shape().clone();
        let scales: Vec<f32> = data
            .convert::<f32>()
            .iter::<f32>()
            .map(|scale| 1.0 + scale)
            .collect();
        Ok(TensorData::new(scales, shape))
    }
}
