//! Activation functions (GELU, SiLU, quick GELU), element by element, and the softmax.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::composed;
use crate::extension::{Kernels, facts, takes};
use crate::flex::activation::Activation;

/// `x * Φ(x)` with the exact normal distribution function Φ (Hendrycks and Gimpel, 2016), any shape.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(x, Activation::Gelu, |x| {
        #[cfg(feature = "cuda")]
        if crate::gpu::activation::serves(&x) {
            return crate::gpu::activation::gelu(x);
        }
        composed::gelu(x)
    })
}

/// GELU with the hyperbolic tangent in place of the error function (PyTorch's `approximate="tanh"`), any shape.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(x, Activation::GeluTanh, composed::gelu_tanh)
}

/// `x * sigmoid(1.702 x)`, the GELU of CLIP, any shape.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(x, Activation::QuickGelu, composed::quick_gelu)
}

/// `silu(gate) * up`, the gated unit of the Llama family; both of one shape.
pub fn silu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    assert_eq!(
        gate.dims(),
        up.dims(),
        "silu_gate: gate and up must have one shape"
    );
    if !takes(&[facts(&gate), facts(&up)]) {
        return composed::silu_gate(gate, up);
    }
    Tensor::from_dispatch(Dispatch::silu_gate(gate.into_dispatch(), up.into_dispatch()))
}

/// Softmax over the last dimension, any shape.
///
/// A row that is `-inf` throughout gives zeros (and a zero gradient), where PyTorch gives NaN.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !takes(&[facts(&x)]) {
        return composed::softmax(x);
    }
    Tensor::from_dispatch(Dispatch::softmax(x.into_dispatch()))
}

fn activate<const D: usize>(
    x: Tensor<D>,
    activation: Activation,
    composed: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if !takes(&[facts(&x)]) {
        return composed(x);
    }
    Tensor::from_dispatch(Dispatch::activate(x.into_dispatch(), activation))
}
