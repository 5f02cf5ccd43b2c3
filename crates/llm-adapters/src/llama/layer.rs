//! One decoder layer: attention and a gated feed-forward network, each behind a normalisation and beside a residual.

use blip2_core::Initializer;
use blip2_core::layers::Linear;
use blip2_kernels::{self as kernels, AttentionOptions};
use burn::module::Module;
use burn::tensor::Tensor;

use super::LlamaConfig;
use super::cache::LayerCache;
use super::rotary::Rotation;
use crate::rms_norm::RmsNorm;

/// Deviation of random weights, `initializer_range` of the family.
const DEVIATION: f32 = 0.02;

#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
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
    pub(super) fn new(config: &LlamaConfig, initializer: &mut Initializer) -> Self {
        let width = config.hidden_size;
        let (queries, keys) = (
            config.heads * config.head_width,
            config.key_heads * config.head_width,
        );
        let inner = config.intermediate_size;
        let mut linear = |inputs, outputs| Linear::unbiased(initializer, inputs, outputs, DEVIATION);
        let self_attn = Attention {
            q_proj: linear(width, queries),
            k_proj: linear(width, keys),
            v_proj: linear(width, keys),
            o_proj: linear(queries, width),
            head_width: config.head_width,
        };
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

    /// Whole texts `hidden` `[batch, tokens, width]`, each token seeing those before it.
    pub(super) fn forward(&self, hidden: Tensor<3>, rotation: &Rotation) -> Tensor<3> {
        self.forward_keeping(hidden, rotation).0
    }

    /// As [`DecoderLayer::forward`], with the keys and values that a cache starts from.
    pub(super) fn forward_keeping(&self, hidden: Tensor<3>, rotation: &Rotation) -> (Tensor<3>, LayerCache) {
        let (query, key, value) = self.project(hidden.clone(), rotation);
        let options = AttentionOptions {
            causal: true,
            ..Default::default()
        };
        let context = kernels::attention(query, key.clone(), value.clone(), None, options);
        (self.finish(hidden, context), LayerCache { key, value })
    }

    /// One more token a row, `hidden` `[rows, 1, width]`, at place `at` of the cache. `hidden_keys` `[rows, 1, 1, at + 1]`
    /// is `-inf` where a row has padding instead of a token.
    pub(super) fn step(
        &self,
        hidden: Tensor<3>,
        rotation: &Rotation,
        cache: &mut LayerCache,
        at: usize,
        hidden_keys: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let (query, key, value) = self.project(hidden.clone(), rotation);
        let (key, value) = cache.insert(at, key, value);
        let context = kernels::attention(
            query,
            key,
            value,
            hidden_keys.cloned(),
            AttentionOptions::default(),
        );
        self.finish(hidden, context)
    }

    /// Queries, keys and values of `hidden` `[batch, tokens, width]`, as `[batch, heads, tokens, head width]`.
    fn project(&self, hidden: Tensor<3>, rotation: &Rotation) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let normal = self.input_layernorm.forward(hidden);
        let attention = &self.self_attn;
        let query = rotation.apply(attention.heads(attention.q_proj.forward(normal.clone())));
        let key = rotation.apply(attention.heads(attention.k_proj.forward(normal.clone())));
        let value = attention.heads(attention.v_proj.forward(normal));
        (query.swap_dims(1, 2), key.swap_dims(1, 2), value.swap_dims(1, 2))
    }

    /// The rest of the layer, given what the heads attended to: `context` `[batch, heads, tokens, head width]`.
    fn finish(&self, hidden: Tensor<3>, context: Tensor<4>) -> Tensor<3> {
        let [batch, heads, tokens, head_width] = context.dims();
        let context = context
            .swap_dims(1, 2)
            .reshape([batch, tokens, heads * head_width]);
        let hidden = hidden + self.self_attn.o_proj.forward(context);
        let normal = self.post_attention_layernorm.forward(hidden.clone());
        hidden + self.mlp.forward(normal)
    }
}

impl Attention {
    /// `[batch, tokens, heads * head width]` to `[batch, tokens, heads, head width]`.
    fn heads(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, tokens, width] = x.dims();
        x.reshape([batch, tokens, width / self.head_width, self.head_width])
    }
}

impl GatedFeedForward {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        self.down_proj
            .forward(kernels::silu_gate(gate, self.up_proj.forward(x)))
    }
}
