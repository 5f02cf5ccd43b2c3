//! Cross-entropy out of ordinary tensor operations.

use burn::tensor::{Int, Tensor, activation};

use super::matmul;
use crate::products::Products;

pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    products: Products,
) -> Tensor<D> {
    let mut shape = x.dims();
    let [out_width, in_width] = weight.dims();
    let rows: usize = shape[..D - 1].iter().product();
    let mut y = matmul(x.reshape([rows, in_width]), weight.transpose(), products);
    if let Some(bias) = bias {
        y = y + bias.unsqueeze();
    }
    shape[D - 1] = out_width;
    y.reshape(shape)
}

pub(crate) fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, label_smoothing: f64) -> Tensor<1> {
    let log_probabilities = activation::log_softmax(logits, 1);
    let of_target = log_probabilities
        .clone()
        .gather(1, targets.unsqueeze_dim(1))
        .mean();
    if label_smoothing == 0.0 {
        return -of_target;
    }
    -(of_target.mul_scalar(1.0 - label_smoothing) + log_probabilities.mean().mul_scalar(label_smoothing))
}
