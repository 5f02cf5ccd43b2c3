//! Layer norm and RMS norm, over the last dimension.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::composed;
use crate::extension::{Kernels, Maybe, facts, takes};

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
    if !takes(&[facts(&x), facts(&weight), facts(&bias)]) {
        return elsewhere(x, weight, bias, epsilon);
    }
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_norm(
        x.into_dispatch(),
        Maybe::Absent,
        weight,
        bias,
        epsilon,
    ))
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
    if !takes(&[facts(&x), facts(&residual), facts(&weight), facts(&bias)]) {
        return elsewhere(x + residual, weight, bias, epsilon);
    }
    let (x, residual) = (x.into_dispatch(), residual.into_dispatch());
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::layer_norm(
        x,
        Maybe::Given(residual),
        weight,
        bias,
        epsilon,
    ))
}

/// Layer norm where the kernels for the CPU do not serve: by those for NVIDIA's GPUs where they do.
fn elsewhere<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<D> {
    #[cfg(feature = "cuda")]
    if crate::gpu::norm::serves(&x, &weight, &bias) {
        return crate::gpu::norm::layer_norm(x, weight, bias, epsilon);
    }
    composed::layer_norm(x, weight, bias, epsilon)
}

/// Root mean square normalisation (Zhang and Sennrich, 2019): `x / sqrt(mean(x²) + epsilon) * weight`.
///
/// `x` is `[.., width]`, `weight` `[width]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    check("rms_norm", &x, &[&weight]);
    if !takes(&[facts(&x), facts(&weight)]) {
        return composed::rms_norm(x, weight, epsilon);
    }
    Tensor::from_dispatch(Dispatch::rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        epsilon,
    ))
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
