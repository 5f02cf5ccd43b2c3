//! One block: attention, then a feed-forward layer, each normalised before and scaled after.

use blip2_core::Initializer;
use blip2_core::layers::{LayerNorm, Linear};
use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::attention::Attention;
use super::{Activation, VisionTransformerConfig};

/// A pre-norm transformer block with layer scale (Touvron et al., 2021).
#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attention: Attention,
    layer_scale1: Param<Tensor<1>>,
    norm2: LayerNorm,
    mlp: FeedForward,
    layer_scale2: Param<Tensor<1>>,
}

impl Block {
    pub(super) fn new(initializer: &mut Initializer, config: &VisionTransformerConfig) -> Self {
        let (width, epsilon) = (config.hidden_size, config.layer_norm_eps);
        Self {
            norm1: LayerNorm::new(initializer, width, epsilon),
            attention: Attention::new(initializer, config),
            layer_scale1: initializer.constant([width], config.layerscale_value),
            norm2: LayerNorm::new(initializer, width, epsilon),
            mlp: FeedForward::new(initializer, config),
            layer_scale2: initializer.constant([width], config.layerscale_value),
        }
    }

    /// `x` `[batch, tokens, width]` to the same shape.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mixed = self.attention.forward(self.norm1.forward(x.clone()));
        let x = x + mixed * self.layer_scale1.val().unsqueeze();
        let fed = self.mlp.forward(self.norm2.forward(x.clone()));
        x + fed * self.layer_scale2.val().unsqueeze()
    }
}

#[derive(Module, Debug)]
struct FeedForward {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    fn new(initializer: &mut Initializer, config: &VisionTransformerConfig) -> Self {
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        let inner = width * config.mlp_ratio;
        Self {
            fc1: Linear::normal(initializer, width, inner, deviation),
            fc2: Linear::normal(initializer, inner, width, deviation),
            activation: config.hidden_act,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.fc1.forward(x);
        self.fc2.forward(match self.activation {
            Activation::Gelu => kernels::gelu(x),
            Activation::GeluPytorchTanh => kernels::gelu_tanh(x),
            Activation::QuickGelu => kernels::quick_gelu(x),
        })
    }
}
