//! Attention and gated feed-forward network of both stacks, each behind a normalisation and beside a residual.

use blip2_core::Initializer;
use blip2_core::layers::Linear;
use blip2_kernels::{self as kernels, AttentionOptions, CacheReads, KeyValueCache};
use burn::module::Module;
use burn::tensor::Tensor;

use super::{GateActivation, T5Config};
use crate::attention::{attention, attention_to};
use crate::batch::{join_heads, split_heads};
use crate::cache::Remembered;
use crate::rms_norm::RmsNorm;

#[derive(Module, Debug)]
pub(super) struct Attention {
    norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    head_width: usize,
}

#[derive(Module, Debug)]
pub(super) struct GatedFeedForward {
    norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    #[module(skip)]
    activation: GateActivation,
}

impl Attention {
    pub(super) fn linears(&mut self) -> [(&'static str, &mut Linear); 4] {
        [
            ("query", &mut self.query),
            ("key", &mut self.key),
            ("value", &mut self.value),
            ("output", &mut self.output),
        ]
    }

    pub(super) fn new(config: &T5Config, initializer: &mut Initializer) -> Self {
        let (width, inner) = (config.hidden_size, config.heads * config.head_width);
        let mut linear = |inputs, outputs| Linear::unbiased(initializer, inputs, outputs, deviation(inputs));
        let (query, key) = (linear(width, inner), linear(width, inner));
        let (value, output) = (linear(width, inner), linear(inner, width));
        Self {
            norm: RmsNorm::new(initializer, width, config.norm_epsilon),
            query,
            key,
            value,
            output,
            head_width: config.head_width,
        }
    }

    /// `hidden` `[batch, tokens, width]`, normalised as this attention reads it.
    pub(super) fn normal(&self, hidden: &Tensor<3>) -> Tensor<3> {
        self.norm.forward(hidden.clone())
    }

    /// Keys and values of `memory` `[batch, tokens, width]`.
    pub(super) fn remember(&self, memory: Tensor<3>) -> Remembered {
        Remembered {
            key: self.heads(&self.key, memory.clone()),
            value: self.heads(&self.value, memory),
        }
    }

    /// `hidden` `[batch, queries, width]` plus what `normal`, its normalised form, finds in `key` and `value`
    /// `[batch, heads, keys, head width]`. Scores are not scaled: the weights have taken that over.
    pub(super) fn attend(
        &self,
        hidden: Tensor<3>,
        normal: Tensor<3>,
        (key, value): (Tensor<4>, Tensor<4>),
        bias: Option<Tensor<4>>,
        causal: bool,
    ) -> Tensor<3> {
        let options = AttentionOptions {
            scale: Some(1.0),
            causal,
            ..Default::default()
        };
        let context = attention(self.heads(&self.query, normal), key, value, bias, options);
        hidden + self.output.forward(join_heads(context))
    }

    /// As [`Attention::attend`], of the keys and values of a `cache`.
    pub(super) fn attend_to(
        &self,
        cache: &KeyValueCache,
        hidden: Tensor<3>,
        normal: Tensor<3>,
        reads: &CacheReads,
        bias: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let query = self.heads(&self.query, normal);
        let context = attention_to(cache, query, reads, bias, Some(1.0));
        hidden + self.output.forward(join_heads(context))
    }

    /// `[batch, heads, tokens, head width]`.
    fn heads(&self, projection: &Linear, x: Tensor<3>) -> Tensor<4> {
        split_heads(projection.forward(x), self.head_width).swap_dims(1, 2)
    }
}

impl GatedFeedForward {
    pub(super) fn linears(&mut self) -> [(&'static str, &mut Linear); 3] {
        [
            ("gate", &mut self.gate),
            ("up", &mut self.up),
            ("down", &mut self.down),
        ]
    }

    pub(super) fn new(config: &T5Config, initializer: &mut Initializer) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |inputs, outputs| Linear::unbiased(initializer, inputs, outputs, deviation(inputs));
        let (gate, up, down) = (linear(width, inner), linear(width, inner), linear(inner, width));
        Self {
            norm: RmsNorm::new(initializer, width, config.norm_epsilon),
            gate,
            up,
            down,
            activation: config.activation,
        }
    }

    /// `hidden` `[batch, tokens, width]` plus what the network makes of it.
    pub(super) fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let normal = self.norm.forward(hidden.clone());
        let gate = self.gate.forward(normal.clone());
        let gate = match self.activation {
            GateActivation::Gelu => kernels::gelu(gate),
            GateActivation::GeluTanh => kernels::gelu_tanh(gate),
        };
        hidden + self.down.forward(gate * self.up.forward(normal))
    }
}

/// Deviation of random weights that keeps the size of what passes.
fn deviation(inputs: usize) -> f32 {
    (inputs as f32).sqrt().recip()
}
