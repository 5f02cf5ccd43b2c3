//! Layer norm and RMS norm, each forward and backward in one pass over the rows.

use burn_flex::FlexTensor;

use super::change::{Change, LINE};
use super::rows::{sum_of, total};
use super::simd::{across, multiply_add, reduce, settled, vectorised};
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
    change_rows(x, 1, |x, start| plus(x, &residual[start..]))
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
    let (x, sums) = change_pieces(gradient, piece_with_sum(width), |rows, start| {
        let mut sums = vec![0.0; 2 * width];
        (
            rows_backward(rows, &x[start..], norm, weight, epsilon, &mut sums),
            sums,
        )
    });
    let parameters = with_parameters.then(|| {
        let total = total(sums, 2 * width);
        let (of_weight, of_bias) = total.split_at(width);
        (
            tensor(of_weight.to_vec(), [width]),
            tensor(of_bias.to_vec(), [width]),
        )
    });
    NormGradients { x, parameters }
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
    fn plus<'a>(x: Change<'a>, other: &[f32]) -> &'a mut [f32] {
        x.all([other], |x, [other]| x + other)
    }

    fn normalise_rows<'a>(
        rows: Change<'a>,
        norm: Norm,
        weight: &[f32],
        bias: Option<&[f32]>,
        epsilon: f32,
    ) -> &'a mut [f32] {
        let (mut rows, width) = (rows, weight.len());
        while rows.left() > 0 {
            let (mean, scale) = moments::<FUSED>(rows.next(width), norm, epsilon);
            match bias {
                Some(bias) => rows.some(width, [weight, bias], |x, [weight, bias]| {
                    multiply_add::<FUSED>((x - mean) * scale, weight, bias)
                }),
                None => rows.some(width, [weight], |x, [weight]| (x - mean) * scale * weight),
            };
        }
        rows.finish()
    }

    /// The gradients of some rows from those of the normalised rows; adds the gradients of weight and bias to `sums`, one
    /// after the other.
    fn rows_backward<'a>(
        gradients: Change<'a>,
        x: &[f32],
        norm: Norm,
        weight: &[f32],
        epsilon: f32,
        sums: &mut [f32],
    ) -> &'a mut [f32] {
        let (mut gradients, width) = (gradients, weight.len());
        let (of_weight, of_bias) = sums.split_at_mut(width);
        for x in x.chunks_exact(width).take(gradients.left() / width) {
            let (mean, scale) = moments::<FUSED>(x, norm, epsilon);
            let row = [gradients.next(width), x, weight];
            let [along, even] = add_parameters::<FUSED>(row, mean, scale, of_weight, of_bias);
            let along = along * scale * scale / width as f32;
            let even = if norm == Norm::Layer { even / width as f32 } else { 0.0 };
            gradients.some(width, [x, weight], |gradient, [x, weight]| {
                scale * (gradient * weight - even - (x - mean) * along)
            });
        }
        gradients.finish()
    }
}

/// Adds a row's share to the gradients of weight and bias, and gives the sums of `gradient * weight * (x - mean)` and of
/// `gradient * weight`.
#[inline(always)]
fn add_parameters<const FUSED: bool>(
    [gradient, x, weight]: [&[f32]; 3],
    mean: f32,
    scale: f32,
    of_weight: &mut [f32],
    of_bias: &mut [f32],
) -> [f32; 2] {
    let whole = gradient.len() / LINE;
    let (gradients, xs, factors) = (
        &gradient.as_chunks::<LINE>().0[..whole],
        &x.as_chunks::<LINE>().0[..whole],
        &weight.as_chunks::<LINE>().0[..whole],
    );
    let (mut along, mut even) = ([0.0; LINE], [0.0; LINE]);
    for block in 0..whole {
        let of_weight = &mut of_weight.as_chunks_mut::<LINE>().0[block];
        let of_bias = &mut of_bias.as_chunks_mut::<LINE>().0[block];
        let (mut weights, mut biases) = (*of_weight, *of_bias);
        for lane in 0..LINE {
            let (gradient, x) = (gradients[block][lane], xs[block][lane] - mean);
            let weighted = gradient * factors[block][lane];
            along[lane] = multiply_add::<FUSED>(weighted, x, along[lane]);
            even[lane] += weighted;
            weights[lane] = multiply_add::<FUSED>(gradient, x * scale, weights[lane]);
            biases[lane] += gradient;
        }
        (*of_weight, *of_bias) = (weights, biases);
    }
    let add = |a, b| a + b;
    let (mut along, mut even) = (across(settled(along), add), across(settled(even), add));
    for index in whole * LINE..gradient.len() {
        let (gradient, x, weighted) = (gradient[index], x[index] - mean, gradient[index] * weight[index]);
        along = multiply_add::<FUSED>(weighted, x, along);
        even += weighted;
        of_weight[index] = multiply_add::<FUSED>(gradient, x * scale, of_weight[index]);
        of_bias[index] += gradient;
    }
    [along, even]
}
