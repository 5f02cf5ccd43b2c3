//! `y = x W^T + b`.

use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::Initializer;

/// A linear layer with PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`, where the layer has one.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// PyTorch's default: weight and bias uniform within `1/sqrt(inputs)`.
    pub fn uniform(initializer: &mut Initializer, inputs: usize, outputs: usize) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        Self {
            weight: initializer.uniform([outputs, inputs], bound),
            bias: Some(initializer.uniform([outputs], bound)),
        }
    }

    /// BERT's default: weight normal with the given deviation, bias zero.
    pub fn normal(initializer: &mut Initializer, inputs: usize, outputs: usize, deviation: f32) -> Self {
        Self {
            weight: initializer.normal([outputs, inputs], deviation),
            bias: Some(initializer.constant([outputs], 0.0)),
        }
    }

    /// As [`Linear::normal`], without a bias.
    pub fn unbiased(initializer: &mut Initializer, inputs: usize, outputs: usize, deviation: f32) -> Self {
        Self {
            weight: initializer.normal([outputs, inputs], deviation),
            bias: None,
        }
    }

    /// Maps `x` `[.., inputs]` to `[.., outputs]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val))
    }
}
