//! Layer normalisation over the last dimension.

use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::Initializer;

/// Layer normalisation. Its epsilon is part of the architecture: BLIP-2 has four different ones.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[width]`.
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// Scale one, shift zero.
    pub fn new(initializer: &mut Initializer, width: usize, epsilon: f64) -> Self {
        Self {
            weight: initializer.constant([width], 1.0),
            bias: initializer.constant([width], 0.0),
            epsilon,
        }
    }

    /// Normalises `x` `[.., width]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }

    /// Normalises `x + residual`, both `[.., width]`: the end of a post-norm block.
    pub fn forward_residual<const D: usize>(&self, x: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        kernels::add_layer_norm(x, residual, self.weight.val(), self.bias.val(), self.epsilon)
    }
}
