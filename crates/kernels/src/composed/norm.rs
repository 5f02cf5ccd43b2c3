//! Layer norm and RMS norm out of ordinary tensor operations.

use burn::tensor::Tensor;

use super::in_single_precision;

pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    in_single_precision(x, |x| {
        let (weight, bias) = (weight.cast(x.dtype()), bias.cast(x.dtype()));
        let centred = x.clone() - x.mean_dim(D - 1);
        let variance = centred.clone().square().mean_dim(D - 1);
        centred / variance.add_scalar(epsilon).sqrt() * weight.unsqueeze() + bias.unsqueeze()
    })
}

pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    in_single_precision(x, |x| {
        let weight = weight.cast(x.dtype());
        let mean_square = x.clone().square().mean_dim(D - 1);
        x / mean_square.add_scalar(epsilon).sqrt() * weight.unsqueeze()
    })
}
