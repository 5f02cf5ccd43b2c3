//! `y = x W^T + b`.

use blip2_kernels::{self as kernels, CrossEntropyOptions};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::{LowRank, PackableWeight};
use crate::Initializer;

/// A linear layer with PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: PackableWeight,
    /// `[outputs]`, where the layer has one.
    pub bias: Option<Param<Tensor<1>>>,
    /// What was learned beside the weight, where the layer is frozen and adapted.
    pub low_rank: Option<LowRank>,
}

impl Linear {
    /// PyTorch's default: weight and bias uniform within `1/sqrt(inputs)`.
    pub fn uniform(initializer: &mut Initializer, inputs: usize, outputs: usize) -> Self {
        let bound = 1.0 / (inputs as f32).sqrt();
        let weight = initializer.uniform([outputs, inputs], bound);
        Self {
            weight: PackableWeight::new(weight, initializer.packing()),
            bias: Some(initializer.uniform([outputs], bound)),
            low_rank: None,
        }
    }

    /// BERT's default: weight normal with the given deviation, bias zero.
    pub fn normal(initializer: &mut Initializer, inputs: usize, outputs: usize, deviation: f32) -> Self {
        let weight = initializer.normal([outputs, inputs], deviation);
        Self {
            weight: PackableWeight::new(weight, initializer.packing()),
            bias: Some(initializer.constant([outputs], 0.0)),
            low_rank: None,
        }
    }

    /// As [`Linear::normal`], without a bias.
    pub fn unbiased(initializer: &mut Initializer, inputs: usize, outputs: usize, deviation: f32) -> Self {
        let weight = initializer.normal([outputs, inputs], deviation);
        Self {
            weight: PackableWeight::new(weight, initializer.packing()),
            bias: None,
            low_rank: None,
        }
    }

    /// The same layer with `weight` `[outputs, inputs]`, a parameter that is not packed.
    #[must_use]
    pub fn with_weight(mut self, weight: Tensor<2>) -> Self {
        self.weight = PackableWeight::plain(Param::from_tensor(weight.detach()));
        self
    }

    /// Maps `x` `[.., inputs]` to `[.., outputs]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let update = self.low_rank.as_ref().map(|update| update.forward(x.clone()));
        let mapped = match self.weight.packed() {
            Some(weight) => kernels::packed_linear(x, weight, bias),
            None => kernels::linear(x, self.weight.val(), bias),
        };
        match update {
            Some(update) => mapped + update,
            None => mapped,
        }
    }

    /// Adds what `x` `[.., inputs]` is mapped to, to `residual` `[.., outputs]`, of whose type the result is.
    pub fn add_to<const D: usize>(&self, residual: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        if self.weight.packed().is_some() || self.low_rank.is_some() {
            let dtype = residual.dtype();
            return residual + self.forward(x).cast(dtype);
        }
        let bias = self.bias.as_ref().map(Param::val);
        kernels::add_linear(residual, x, self.weight.val(), bias)
    }

    /// Mean cross-entropy `[1]` of what `hidden` `[rows, inputs]` is mapped to, against `targets` `[rows]`: classes in
    /// `0..outputs`.
    pub fn cross_entropy(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
        let options = CrossEntropyOptions::default();
        if self.weight.packed().is_some() || self.low_rank.is_some() {
            return kernels::cross_entropy(self.forward(hidden), targets, options);
        }
        let bias = self.bias.as_ref().map(Param::val);
        kernels::linear_cross_entropy(hidden, self.weight.val(), bias, targets, options)
    }
}
