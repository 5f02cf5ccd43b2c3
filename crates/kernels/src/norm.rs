//! Normalisations over the last dimension.

use burn::tensor::Tensor;

use crate::composed;

/// Layer normalisation (Ba et al., 2016): `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
///
/// `x` is `[.., width]`, `weight` and `bias` are `[width]`; the variance is the biased one.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    check("layer_norm", &x, &[&weight, &bias]);
    composed::layer_norm(x, weight, bias, epsilon)
}

/// `layer_norm(x + residual)`, the end of each half of a BERT layer; shapes as in [`layer_norm`].
pub fn add_layer_norm<const D: usize>(
    x: Tensor<D>,
    residual: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    check("add_layer_norm", &x, &[&weight, &bias]);
    assert_eq!(
        x.dims(),
        residual.dims(),
        "add_layer_norm: x and residual must have one shape"
    );
    composed::layer_norm(x + residual, weight, bias, epsilon)
}

/// Root mean square normalisation (Zhang and Sennrich, 2019): `x / sqrt(mean(x²) + epsilon) * weight`.
///
/// `x` is `[.., width]`, `weight` `[width]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    check("rms_norm", &x, &[&weight]);
    composed::rms_norm(x, weight, epsilon)
}

fn check<const D: usize>(operation: &str, x: &Tensor<D>, parameters: &[&Tensor<1>]) {
    let width = x.dims()[D - 1];
    for parameter in parameters {
        assert_eq!(
            parameter.dims(),
            [width],
            "{operation}: weight and bias must have the width of x {:?}",
            x.dims()
        );
    }
}
