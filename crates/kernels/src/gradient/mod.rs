//! Backward passes, written by hand: one node in the graph for each operation, and no more saved than it needs.

mod activation;
mod linear;
mod norm;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use crate::extension::{Kernels, Maybe};
use crate::flex::activation::Activation;

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: Maybe<Self>) -> FloatTensor<Self> {
        match bias {
            Maybe::Given(bias) => linear::with_bias::<C>(x, weight, bias),
            Maybe::Absent => linear::without_bias::<C>(x, weight),
        }
    }

    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        activation::activate::<C>(x, activation)
    }

    fn silu_gate(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        activation::silu_gate::<C>(gate, up)
    }

    fn softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        activation::softmax::<C>(x)
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        residual: Maybe<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        match residual {
            Maybe::Given(residual) => norm::add_layer_norm::<C>(x, residual, weight, bias, epsilon),
            Maybe::Absent => norm::layer_norm::<C>(x, weight, bias, epsilon),
        }
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        norm::rms_norm::<C>(x, weight, epsilon)
    }
}

/// A tensor in the graph, over flex.
type Tracked = FloatTensor<Autodiff<Flex>>;
