//! Activations, element by element, and the softmax.

use burn::tensor::Tensor;

use crate::composed;

/// `x * Φ(x)` with the exact normal distribution function Φ (Hendrycks and Gimpel, 2016), any shape.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    composed::gelu(x)
}

/// GELU with the hyperbolic tangent in place of the error function (PyTorch's `approximate="tanh"`), any shape.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    composed::gelu_tanh(x)
}

/// `x * sigmoid(1.702 x)`, the GELU of CLIP, any shape.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    composed::quick_gelu(x)
}

/// `silu(gate) * up`, the gated unit of the Llama family; both of one shape.
pub fn silu_gate<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    assert_eq!(
        gate.dims(),
        up.dims(),
        "silu_gate: gate and up must have one shape"
    );
    composed::silu_gate(gate, up)
}

/// Softmax over the last dimension, any shape.
///
/// A row that is `-inf` throughout gives zeros (and a zero gradient), where PyTorch gives NaN.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    composed::softmax(x)
}
