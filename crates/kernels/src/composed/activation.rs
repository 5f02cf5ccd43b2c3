//! Activations out of ordinary tensor operations.

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Tensor, activation};

use super::in_single_precision;

/// Not burn's: on GPUs, the backward pass of that one is of the approximation with the hyperbolic tangent.
pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    in_single_precision(x, |x| {
        let twice_normal = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
        x.mul_scalar(0.5) * twice_normal
    })
}

pub(crate) fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu_approximate(x)
}

pub(crate) fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * activation::sigmoid(x.mul_scalar(1.702))
}

pub(crate) fn silu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    activation::silu(gate) * up
}

/// The largest element of a row is taken off before the exponential. In a row of `-inf` zero is taken off instead, and
/// the divisor is one: such a row becomes zeros.
pub(crate) fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    in_single_precision(x, |x| {
        let largest = x.clone().detach().max_dim(D - 1);
        let hidden = largest.clone().equal_scalar(f64::NEG_INFINITY);
        let powers = (x - largest.mask_fill(hidden.clone(), 0.0)).exp();
        let sum = powers.clone().sum_dim(D - 1).mask_fill(hidden, 1.0);
        powers / sum
    })
}
