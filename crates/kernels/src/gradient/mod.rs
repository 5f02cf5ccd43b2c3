//! Backward passes, written by hand: one node in the graph for each operation, and no more saved than it needs.
//!
//! Activations, layer norms and copies cost little beside the memory of their results. Where a linear map reads one, the
//! backward pass computes it again (Chen et al., 2016), by burn's own checkpoints, whatever strategy the device has.

mod activation;
mod attention;
mod embedding;
mod linear;
mod loss;
mod norm;
mod packed;
pub(crate) mod recompute;
mod tokens;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Flex};

use crate::extension::{Kernels, Maybe};
use crate::flex::activation::Activation;
use crate::flex::attention::Rules;
use crate::flex::embedding::Rows;
use crate::flex::loss::Targets;
use crate::flex::storage::width;
use crate::packed::PackedWeight;
use crate::products::Products;

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        products: Products,
    ) -> FloatTensor<Self> {
        match bias {
            Maybe::Given(bias) => linear::with_bias::<C>(x, weight, bias, products),
            Maybe::Absent => linear::without_bias::<C>(x, weight, products),
        }
    }

    fn packed_linear(x: FloatTensor<Self>, weight: PackedWeight, bias: Maybe<Self>) -> FloatTensor<Self> {
        let bias = bias.into_option().map(Tracked::into_primitive);
        packed::packed_linear::<C>(x, weight, bias)
    }

    fn embedding(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let rows = Rows::new(ids, weight.primitive().layout().shape()[0]);
        embedding::embedding::<C>(weight, rows)
    }

    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        activation::activate(x, activation)
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
            Maybe::Given(residual) => norm::layer_norm(norm::add::<C>(x, residual), weight, bias, epsilon),
            Maybe::Absent => norm::layer_norm(x, weight, bias, epsilon),
        }
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        norm::rms_norm::<C>(x, weight, epsilon)
    }

    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: Maybe<Self>,
        rules: Rules,
    ) -> FloatTensor<Self> {
        let bias = bias.into_option().map(Tracked::into_primitive);
        attention::attention::<C>(query, key, value, bias, rules)
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        label_smoothing: f64,
    ) -> FloatTensor<Self> {
        let targets = Targets::new(targets, width(logits.primitive()), label_smoothing);
        loss::cross_entropy::<C>(logits, targets)
    }

    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        targets: IntTensor<Self>,
        label_smoothing: f64,
        products: Products,
    ) -> FloatTensor<Self> {
        let targets = Targets::new(targets, weight.primitive().layout().shape()[0], label_smoothing);
        loss::linear_cross_entropy::<C>(hidden, weight, bias.into_option(), &targets, products)
    }

    fn split_tokens(x: FloatTensor<Self>, count: usize) -> (FloatTensor<Self>, FloatTensor<Self>) {
        tokens::split_tokens(x, count)
    }

    fn join_tokens(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self> {
        tokens::join_tokens(first, second)
    }
}

/// A tensor in the graph, over flex.
pub(crate) type Tracked = FloatTensor<Autodiff<Flex>>;
