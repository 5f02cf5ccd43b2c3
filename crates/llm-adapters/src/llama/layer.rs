//! One decoder layer: attention and a gated feed-forward network, each behind a normalisation and beside a residual.

use blip2_core::Initializer;
use blip2_core::layers::Linear;
use blip2_kernels as kernels;
use burn::module::Module;
use burn::tensor::Tensor;

use super::LlamaConfig;
use crate::batch::{join_heads, split_heads};
use crate::causal::CausalLayer;
use crate::rms_norm::RmsNorm;
use crate::rotary::Rotation;

/// Deviation of random weights, `initializer_range` of the family.
const DEVIATION: f32 = 0.02;

#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: GatedFeedForward,
}

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    #[module(skip)]
    head_width: usize,
}

#[derive(Module, Debug)]
struct GatedFeedForward {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl DecoderLayer {
    /// Its linear layers by our paths.
    pub(super) fn linears(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let Self { self_attn, mlp, .. } = self;
        vec![
            ("self_attn.q_proj", &mut self_attn.q_proj),
            ("self_attn.k_proj", &mut self_attn.k_proj),
            ("self_attn.v_proj", &mut self_attn.v_proj),
            ("self_attn.o_proj", &mut self_attn.o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj),
            ("mlp.down_proj", &mut mlp.down_proj),
        ]
    }

    pub(super) fn new(config: &LlamaConfig, initializer: &mut Initializer) -> Self {
        let width = config.hidden_size;
        let (queries, keys) = (
            config.heads * config.head_width,
            config.key_heads * config.head_width,
        );
        let inner = config.intermediate_size;
        let read = match config.architecture.has_biases() {
            true => Linear::normal,
            false => Linear::unbiased,
        };
        let mut projection = |outputs| read(initializer, width, outputs, DEVIATION);
        let (q_proj, k_proj, v_proj) = (projection(queries), projection(keys), projection(keys));
        let mut linear = |inputs, outputs| Linear::unbiased(initializer, inputs, outputs, DEVIATION);
        let o_proj = linear(queries, width);
        let mut head_norm = || {
            let norm = || RmsNorm::new(initializer, config.head_width, config.norm_epsilon);
            config.architecture.normalises_heads().then(norm)
        };
        let self_attn = Attention {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            q_norm: head_norm(),
            k_norm: head_norm(),
            head_width: config.head_width,
        };
        let mut linear = |inputs, outputs| Linear::unbiased(initializer, inputs, outputs, DEVIATION);
        let mlp = GatedFeedForward {
            gate_proj: linear(width, inner),
            up_proj: linear(width, inner),
            down_proj: linear(inner, width),
        };
        Self {
            input_layernorm: RmsNorm::new(initializer, width, config.norm_epsilon),
            self_attn,
            post_attention_layernorm: RmsNorm::new(initializer, width, config.norm_epsilon),
            mlp,
        }
    }
}

impl CausalLayer for DecoderLayer {
    type Positions = Rotation;

    fn project(&self, hidden: Tensor<3>, rotation: &Rotation) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let normal = self.input_layernorm.forward(hidden);
        let attention = &self.self_attn;
        let heads =
            |projection: &Linear| split_heads(projection.forward(normal.clone()), attention.head_width);
        let normed = |norm: &Option<RmsNorm>, heads| match norm {
            Some(norm) => norm.forward(heads),
            None => heads,
        };
        let query = rotation.apply(normed(&attention.q_norm, heads(&attention.q_proj)));
        let key = rotation.apply(normed(&attention.k_norm, heads(&attention.k_proj)));
        let value = heads(&attention.v_proj);
        (query.swap_dims(1, 2), key.swap_dims(1, 2), value.swap_dims(1, 2))
    }

    fn finish(&self, hidden: Tensor<3>, context: Tensor<4>) -> Tensor<3> {
        let hidden = hidden + self.self_attn.o_proj.forward(join_heads(context));
        let normal = self.post_attention_layernorm.forward(hidden.clone());
        hidden + self.mlp.forward(normal)
    }
}

impl GatedFeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        self.down_proj
            .forward(kernels::silu_gate(gate, self.up_proj.forward(x)))
    }
}
