//! One decoder layer: attention and a GeGLU network, each between two normalisations and beside a residual.

use blip2_core::Initializer;
use blip2_core::layers::Linear;
use blip2_kernels as kernels;
use burn::module::Module;
use burn::tensor::Tensor;

use super::{DEVIATION, Gemma3Config};
use crate::batch::{join_heads, split_heads};
use crate::causal::CausalLayer;
use crate::rms_norm::RmsNorm;
use crate::rotary::Rotation;

#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: RmsNorm,
    mlp: GatedFeedForward,
    post_feedforward_layernorm: RmsNorm,
    /// Tokens that a token sees, where not all.
    #[module(skip)]
    window: Option<usize>,
    #[module(skip)]
    scale: f64,
}

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    #[module(skip)]
    head_width: usize,
}

#[derive(Module, Debug)]
struct GatedFeedForward {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// The turns of the same positions, for the layers that see all and for the others.
#[derive(Clone)]
pub(crate) struct Positions {
    pub(super) global: Rotation,
    pub(super) local: Rotation,
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

    pub(super) fn new(config: &Gemma3Config, sliding: bool, initializer: &mut Initializer) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, keys) = (
            config.heads * config.head_width,
            config.key_heads * config.head_width,
        );
        let mut linear = |inputs, outputs| Linear::unbiased(initializer, inputs, outputs, DEVIATION);
        let (q_proj, k_proj, v_proj) = (linear(width, queries), linear(width, keys), linear(width, keys));
        let o_proj = linear(queries, width);
        let mlp = GatedFeedForward {
            gate_proj: linear(width, inner),
            up_proj: linear(width, inner),
            down_proj: linear(inner, width),
        };
        let mut norm = |width| RmsNorm::new(initializer, width, config.norm_epsilon);
        Self {
            self_attn: Attention {
                q_proj,
                k_proj,
                v_proj,
                o_proj,
                q_norm: norm(config.head_width),
                k_norm: norm(config.head_width),
                head_width: config.head_width,
            },
            mlp,
            input_layernorm: norm(width),
            post_attention_layernorm: norm(width),
            pre_feedforward_layernorm: norm(width),
            post_feedforward_layernorm: norm(width),
            window: sliding.then_some(config.window),
            scale: config.score_scale,
        }
    }
}

impl CausalLayer for DecoderLayer {
    type Positions = Positions;

    fn project(&self, hidden: Tensor<3>, positions: &Positions) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let normal = self.input_layernorm.forward(hidden);
        let attention = &self.self_attn;
        let rotation = match self.window {
            Some(_) => &positions.local,
            None => &positions.global,
        };
        let heads =
            |projection: &Linear| split_heads(projection.forward(normal.clone()), attention.head_width);
        let query = rotation.apply(attention.q_norm.forward(heads(&attention.q_proj)));
        let key = rotation.apply(attention.k_norm.forward(heads(&attention.k_proj)));
        let value = heads(&attention.v_proj);
        (query.swap_dims(1, 2), key.swap_dims(1, 2), value.swap_dims(1, 2))
    }

    fn finish(&self, hidden: Tensor<3>, context: Tensor<4>) -> Tensor<3> {
        let attended = self.self_attn.o_proj.forward(join_heads(context));
        let hidden = hidden + self.post_attention_layernorm.forward(attended);
        let normal = self.pre_feedforward_layernorm.forward(hidden.clone());
        hidden + self.post_feedforward_layernorm.forward(self.mlp.forward(normal))
    }

    fn scale(&self) -> Option<f64> {
        Some(self.scale)
    }

    fn window(&self) -> Option<usize> {
        self.window
    }
}

impl GatedFeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = kernels::gelu_tanh(self.gate_proj.forward(x.clone()));
        self.down_proj.forward(gate * self.up_proj.forward(x))
    }
}
