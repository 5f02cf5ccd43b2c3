//! One block: attention, then a feed-forward layer, each normalised before, and scaled after where the family does so.

use blip2_core::Initializer;
use blip2_core::layers::{LayerNorm, Linear};
use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::attention::Attention;
use super::{Activation, QkvBias};

/// The shape of a block.
#[derive(Clone, Copy)]
pub(super) struct BlockConfig {
    pub(super) width: usize,
    pub(super) heads: usize,
    /// Width within the feed-forward layer.
    pub(super) inner: usize,
    pub(super) activation: Activation,
    pub(super) qkv_bias: QkvBias,
    /// Whether a token sees only those before it: a block of text.
    pub(super) causal: bool,
    pub(super) epsilon: f64,
    /// Standard deviation of initial weights.
    pub(super) deviation: f32,
    /// Initial value of the layer scales, where there are any.
    pub(super) layer_scale: Option<f32>,
}

/// A pre-norm transformer block, in some families with layer scale (Touvron et al., 2021).
#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attention: Attention,
    layer_scale1: Option<Param<Tensor<1>>>,
    norm2: LayerNorm,
    mlp: FeedForward,
    layer_scale2: Option<Param<Tensor<1>>>,
    /// How often a picture passes by what a branch adds, in training.
    #[module(skip)]
    drop_path: f64,
}

impl Block {
    pub(super) fn new(initializer: &mut Initializer, config: &BlockConfig) -> Self {
        let (width, epsilon) = (config.width, config.epsilon);
        let layer_scale = |initializer: &mut Initializer| {
            let value = config.layer_scale?;
            Some(initializer.constant([width], value))
        };
        Self {
            norm1: LayerNorm::new(initializer, width, epsilon),
            attention: Attention::new(initializer, config),
            layer_scale1: layer_scale(initializer),
            norm2: LayerNorm::new(initializer, width, epsilon),
            mlp: FeedForward::new(initializer, config),
            layer_scale2: layer_scale(initializer),
            drop_path: 0.0,
        }
    }

    /// `x` `[batch, tokens, width]` to the same shape.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mixed = self.attention.forward(self.norm1.forward(x.clone()));
        let x = self.added(x, mixed, self.attention.output(), &self.layer_scale1);
        let fed = self.mlp.forward(self.norm2.forward(x.clone()));
        self.added(x, fed, &self.mlp.fc2, &self.layer_scale2)
    }

    /// `x` and what a branch adds to it, whose `last` layer takes `branch`.
    fn added(
        &self,
        x: Tensor<3>,
        branch: Tensor<3>,
        last: &Linear,
        scale: &Option<Param<Tensor<1>>>,
    ) -> Tensor<3> {
        match scale {
            None if self.drop_path == 0.0 => last.add_to(x, branch),
            _ => x + self.dropped(scaled(last.forward(branch), scale)),
        }
    }

    /// The same block, in training without its branches for a share `rate` of the pictures.
    pub(super) fn with_drop_path(mut self, rate: f64) -> Self {
        self.drop_path = rate;
        self
    }

    /// What a branch adds, `[batch, tokens, width]`: in training nothing for some pictures, and more for the others, so that it is
    /// the same on average (stochastic depth, Huang et al., 2016).
    fn dropped(&self, branch: Tensor<3>) -> Tensor<3> {
        let device = branch.device();
        if self.drop_path == 0.0 || !kernels::learns(&device) {
            return branch;
        }
        let kept = 1.0 - self.drop_path;
        let [batch, _, _] = branch.dims();
        let mask: Tensor<3> = kernels::random_mask([batch, 1, 1], kept, &device);
        branch * (mask / kept)
    }
}

fn scaled(x: Tensor<3>, scale: &Option<Param<Tensor<1>>>) -> Tensor<3> {
    match scale {
        Some(scale) => x * scale.val().unsqueeze(),
        None => x,
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
    fn new(initializer: &mut Initializer, config: &BlockConfig) -> Self {
        let (width, inner, deviation) = (config.width, config.inner, config.deviation);
        Self {
            fc1: Linear::normal(initializer, width, inner, deviation),
            fc2: Linear::normal(initializer, inner, width, deviation),
            activation: config.activation,
        }
    }

    /// `x` `[batch, tokens, width]` to `[batch, tokens, inner]`, which [`FeedForward::fc2`] takes.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.fc1.forward(x);
        match self.activation {
            Activation::Gelu => kernels::gelu(x),
            Activation::GeluPytorchTanh => kernels::gelu_tanh(x),
            Activation::QuickGelu => kernels::quick_gelu(x),
        }
    }
}
