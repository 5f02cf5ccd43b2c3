//! Layer and root-mean-square normalisation, each forward and backward in one pass over the rows.

use burn_flex::FlexTensor;

use super::rows::{add_to, dot, sum_of, total};
use super::simd::{multiply_add, reduce, vectorised};
use super::storage::{change_pieces, change_rows, dense, piece_with_sum, tensor, values, width};

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
        normalise_rows(rows, norm, weight, bias, epsilon as f32)
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
    let epsilon = epsilon as f32;
    if !with_parameters {
        let backward =
            |rows: &mut [f32], start: usize| rows_backward(rows, &x[start..], norm, weight, epsilon, &mut []);
        return NormGradients {
            x: change_rows(gradient, width, backward),
            parameters: None,
        };
    }
    let (x, sums) = change_pieces(gradient, piece_with_sum(width), |rows, start| {
        let mut sums = vec![0.0; 2 * width];
        rows_backward(rows, &x[start..], norm, weight, epsilon, &mut sums);
        sums
    });
    let total = total(sums, 2 * width);
    let (of_weight, of_bias) = total.split_at(width);
    let parameters = (
        tensor(of_weight.to_vec(), [width]),
        tensor(of_bias.to_vec(), [width]),
    );
    NormGradients {
        x,
        parameters: Some(parameters),
    }
}

#[inline(always)]
fn moments<const FUSED: bool>(row: &[f32], norm: Norm, epsilon: f32) -> (f32, f32) {
    let length = row.len() as f32;
    let mean = if norm == Norm::Layer {
        sum_of(row) / length
    } else {
        0.0
    };
    let square = |sum, [x, ..]: [f32; 3]| multiply_add::<FUSED>(x - mean, x - mean, sum);
    let variance = reduce([row; 3], 0.0, square, |a, b| a + b) / length;
    (mean, (variance + epsilon).sqrt().recip())
}

vectorised! {
    fn normalise_rows(rows: &mut [f32], norm: Norm, weight: &[f32], bias: Option<&[f32]>, epsilon: f32) {
        for row in rows.chunks_exact_mut(weight.len()) {
            let (mean, scale) = moments::<FUSED>(row, norm, epsilon);
            match bias {
                Some(bias) => {
                    for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                        *x = multiply_add::<FUSED>((*x - mean) * scale, *weight, *bias);
                    }
                }
                None => {
                    for (x, weight) in row.iter_mut().zip(weight) {
                        *x = (*x - mean) * scale * weight;
                    }
                }
            }
        }
    }

    /// The gradients of some rows in place of those of the normalised rows; adds the gradients of weight and bias to
    /// `sums`, one after the other, unless that is empty.
    fn rows_backward(
        gradients: &mut [f32],
        x: &[f32],
        norm: Norm,
        weight: &[f32],
        epsilon: f32,
        sums: &mut [f32],
    ) {
        let width = weight.len();
        let (of_weight, of_bias) = sums.split_at_mut(sums.len() / 2);
        for (gradient, x) in gradients.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let (mean, scale) = moments::<FUSED>(x, norm, epsilon);
            let parameters = of_weight.iter_mut().zip(of_bias.iter_mut());
            for ((of_weight, of_bias), (gradient, x)) in parameters.zip(gradient.iter().zip(x)) {
                *of_weight = multiply_add::<FUSED>((x - mean) * scale, *gradient, *of_weight);
                *of_bias += gradient;
            }
            let along = |sum, [gradient, weight, x]: [f32; 3]| {
                multiply_add::<FUSED>(gradient * weight, x - mean, sum)
            };
            let along = reduce([&*gradient, weight, x], 0.0, along, |a, b| a + b) * scale * scale / width as f32;
            let even = if norm == Norm::Layer { dot::<FUSED>(gradient, weight) / width as f32 } else { 0.0 };
            for ((gradient, x), weight) in gradient.iter_mut().zip(x).zip(weight) {
                *gradient = scale * (*gradient * weight - even - (x - mean) * along);
            }
        }
    }
}
