//! Layer and root-mean-square normalisation, each forward and backward in one pass over the rows.

use burn_flex::FlexTensor;

use super::rows::{add_to, sum_pieces};
use super::simd::{multiply_add, reduce, vectorised};
use super::storage::{change_rows, dense, tensor, values, width};

/// Which moments a normalisation takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Norm {
    /// Mean and variance.
    Layer,
    /// Mean square alone.
    RootMeanSquare,
}

/// Gradients of a normalisation.
pub(crate) struct NormGradients {
    /// Of the normalised tensor.
    pub(crate) x: FlexTensor,
    /// Of weight and bias, where they were asked for.
    pub(crate) parameters: Option<(FlexTensor, FlexTensor)>,
}

/// `x + residual`.
pub(crate) fn add(x: FlexTensor, residual: FlexTensor) -> FlexTensor {
    let residual = dense(residual);
    let residual = values(&residual);
    change_rows(x, 1, |x, start| add_to(x, &residual[start..]))
}

/// Normalises the rows of `x`. Without a bias, none is added.
pub(crate) fn normalise(
    x: FlexTensor,
    norm: Norm,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    epsilon: f64,
) -> FlexTensor {
    let width = width(&x);
    let (weight, bias) = (values(weight), bias.map(values));
    change_rows(x, width, |rows, _| {
        for row in rows.chunks_exact_mut(width) {
            let (mean, scale) = moments(row, norm, epsilon as f32);
            scale_row(row, mean, scale, weight);
            if let Some(bias) = bias {
                add_to(row, bias);
            }
        }
    })
}

/// The backward pass of [`normalise`]. The moments are taken again from `x`: that is cheaper than to keep them, while
/// a row is in the cache anyway.
pub(crate) fn normalise_backward(
    x: &FlexTensor,
    gradient: FlexTensor,
    norm: Norm,
    weight: &FlexTensor,
    epsilon: f64,
    with_parameters: bool,
) -> NormGradients {
    let width = width(x);
    let (x, weight) = (values(x), values(weight));
    let gradient = dense(gradient);
    let parameters = with_parameters.then(|| {
        let sums = parameter_sums(x, values(&gradient), norm, epsilon as f32, width);
        let (of_weight, of_bias) = sums.split_at(width);
        (
            tensor(of_weight.to_vec(), [width]),
            tensor(of_bias.to_vec(), [width]),
        )
    });
    let x = change_rows(gradient, width, |rows, start| {
        for (gradient, x) in rows.chunks_exact_mut(width).zip(x[start..].chunks_exact(width)) {
            let (mean, scale) = moments(x, norm, epsilon as f32);
            row_backward(gradient, x, mean, scale, weight, norm == Norm::Layer);
        }
    });
    NormGradients { x, parameters }
}

/// Gradients of weight and bias, one after the other.
fn parameter_sums(x: &[f32], gradient: &[f32], norm: Norm, epsilon: f32, width: usize) -> Vec<f32> {
    sum_pieces(gradient, width, 2 * width, |rows, start, sums| {
        let (of_weight, of_bias) = sums.split_at_mut(width);
        for (gradient, x) in rows.chunks_exact(width).zip(x[start..].chunks_exact(width)) {
            let (mean, scale) = moments(x, norm, epsilon);
            row_sums(of_weight, of_bias, x, gradient, mean, scale);
        }
    })
}

fn moments(row: &[f32], norm: Norm, epsilon: f32) -> (f32, f32) {
    let mean = if norm == Norm::Layer { mean(row) } else { 0.0 };
    (mean, (mean_square(row, mean) + epsilon).sqrt().recip())
}

vectorised! {
    fn mean(row: &[f32]) -> f32 {
        reduce(row.len(), 0.0, |sum, i| sum + row[i], |a, b| a + b) / row.len() as f32
    }

    fn mean_square(row: &[f32], mean: f32) -> f32 {
        let square = |sum, i: usize| multiply_add::<FUSED>(row[i] - mean, row[i] - mean, sum);
        reduce(row.len(), 0.0, square, |a, b| a + b) / row.len() as f32
    }

    fn scale_row(row: &mut [f32], mean: f32, scale: f32, weight: &[f32]) {
        for (x, weight) in row.iter_mut().zip(weight) {
            *x = (*x - mean) * scale * weight;
        }
    }

    fn row_sums(of_weight: &mut [f32], of_bias: &mut [f32], x: &[f32], gradient: &[f32], mean: f32, scale: f32) {
        let rows = of_weight.iter_mut().zip(of_bias.iter_mut()).zip(x.iter().zip(gradient));
        for ((of_weight, of_bias), (x, gradient)) in rows {
            *of_weight = multiply_add::<FUSED>((x - mean) * scale, *gradient, *of_weight);
            *of_bias += gradient;
        }
    }

    /// The gradient of one row in place of that of the normalised row.
    fn row_backward(gradient: &mut [f32], x: &[f32], mean: f32, scale: f32, weight: &[f32], centred: bool) {
        let (x, weight) = (&x[..gradient.len()], &weight[..gradient.len()]);
        let length = x.len() as f32;
        let inner = |i: usize| gradient[i] * weight[i];
        let along = |sum, i: usize| multiply_add::<FUSED>(inner(i), (x[i] - mean) * scale, sum);
        let along = reduce(x.len(), 0.0, along, |a, b| a + b) / length;
        let even = if centred { reduce(x.len(), 0.0, |sum, i| sum + inner(i), |a, b| a + b) / length } else { 0.0 };
        for ((gradient, x), weight) in gradient.iter_mut().zip(x).zip(weight) {
            *gradient = scale * (*gradient * weight - even - (x - mean) * scale * along);
        }
    }
}
