//! Self-attention among the tokens of an image or a text.

use blip2_core::Initializer;
use blip2_core::layers::Linear;
use blip2_kernels::{self as kernels, AttentionOptions};
use burn::module::Module;
use burn::tensor::Tensor;

use super::QkvBias;
use super::block::BlockConfig;

/// Multi-head self-attention; every token sees every other, or those before it alone.
#[derive(Module, Debug)]
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    causal: bool,
}

impl Attention {
    pub(super) fn new(initializer: &mut Initializer, config: &BlockConfig) -> Self {
        let (width, deviation) = (config.width, config.deviation);
        let mut projection = |biased| match biased {
            true => Linear::normal(initializer, width, width, deviation),
            false => Linear::unbiased(initializer, width, width, deviation),
        };
        let outer = config.qkv_bias != QkvBias::None;
        Self {
            query: projection(outer),
            key: projection(config.qkv_bias == QkvBias::All),
            value: projection(outer),
            output: Linear::normal(initializer, width, width, deviation),
            heads: config.heads,
            causal: config.causal,
        }
    }

    /// What the heads bring together of `x` `[batch, tokens, width]`, of the same shape: [`Attention::output`] takes it.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, width] = x.dims();
        let split = |x: Tensor<3>| {
            x.reshape([batch, tokens, self.heads, width / self.heads])
                .swap_dims(1, 2)
        };
        let query = split(self.query.forward(x.clone()));
        let key = split(self.key.forward(x.clone()));
        let value = split(self.value.forward(x));
        let options = AttentionOptions {
            causal: self.causal,
            ..Default::default()
        };
        let mixed = kernels::attention(query, key, value, None, options);
        mixed.swap_dims(1, 2).reshape([batch, tokens, width])
    }

    /// The layer behind the heads.
    pub(super) fn output(&self) -> &Linear {
        &self.output
    }
}
