//! One decoder layer: attention and a ReLU network, each beside a residual and with a normalisation before or behind.

use blip2_core::Initializer;
use blip2_core::layers::{LayerNorm, Linear};
use burn::module::Module;
use burn::tensor::{Tensor, activation::relu};

use super::{DEVIATION, NORM_EPSILON, OptConfig};
use crate::batch::{join_heads, split_heads};
use crate::causal::CausalLayer;

#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    #[module(skip)]
    norm_first: bool,
}

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    #[module(skip)]
    head_width: usize,
}

impl DecoderLayer {
    /// Its linear layers by our paths.
    pub(super) fn linears(&mut self) -> Vec<(&'static str, &mut Linear)> {
        let attention = &mut self.self_attn;
        vec![
            ("self_attn.q_proj", &mut attention.q_proj),
            ("self_attn.k_proj", &mut attention.k_proj),
            ("self_attn.v_proj", &mut attention.v_proj),
            ("self_attn.out_proj", &mut attention.out_proj),
            ("fc1", &mut self.fc1),
            ("fc2", &mut self.fc2),
        ]
    }

    pub(super) fn new(config: &OptConfig, initializer: &mut Initializer) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |inputs, outputs| Linear::normal(initializer, inputs, outputs, DEVIATION);
        let self_attn = Attention {
            q_proj: linear(width, width),
            k_proj: linear(width, width),
            v_proj: linear(width, width),
            out_proj: linear(width, width),
            head_width: width / config.heads,
        };
        let (fc1, fc2) = (linear(width, inner), linear(inner, width));
        Self {
            self_attn,
            self_attn_layer_norm: LayerNorm::new(initializer, width, NORM_EPSILON),
            fc1,
            fc2,
            final_layer_norm: LayerNorm::new(initializer, width, NORM_EPSILON),
            norm_first: config.norm_first,
        }
    }

    /// `norm(x)`, where normalisations come first.
    fn before(&self, norm: &LayerNorm, x: Tensor<3>) -> Tensor<3> {
        if self.norm_first { norm.forward(x) } else { x }
    }

    /// `x + residual`, normalised where normalisations come last.
    fn behind(&self, norm: &LayerNorm, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        if self.norm_first {
            x + residual
        } else {
            norm.forward_residual(x, residual)
        }
    }
}

impl CausalLayer for DecoderLayer {
    /// Positions are part of what the first layer reads.
    type Positions = ();

    fn project(&self, hidden: Tensor<3>, (): &()) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let hidden = self.before(&self.self_attn_layer_norm, hidden);
        let attention = &self.self_attn;
        let heads = |projection: &Linear| {
            split_heads(projection.forward(hidden.clone()), attention.head_width).swap_dims(1, 2)
        };
        (
            heads(&attention.q_proj),
            heads(&attention.k_proj),
            heads(&attention.v_proj),
        )
    }

    fn finish(&self, hidden: Tensor<3>, context: Tensor<4>) -> Tensor<3> {
        let attended = self.self_attn.out_proj.forward(join_heads(context));
        let hidden = self.behind(&self.self_attn_layer_norm, attended, hidden);
        let inner = self.before(&self.final_layer_norm, hidden.clone());
        let inner = self.fc2.forward(relu(self.fc1.forward(inner)));
        self.behind(&self.final_layer_norm, inner, hidden)
    }
}
