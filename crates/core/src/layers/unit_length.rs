//! Vectors at unit length, to be compared by their cosines.

use burn::tensor::Tensor;

/// `x` `[.., width]` at unit length along its last dimension, with PyTorch's guard against zero.
pub fn unit_length<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = (x.clone() * x.clone()).sum_dim(D - 1).sqrt().clamp_min(1e-12);
    x / length
}
