//! Rows of numbers: sums over them, and the softmax of one.

use rayon::prelude::*;

use super::math::exp;
use super::simd::{multiply_add, reduce, vectorised};
use super::storage::piece_with_sum;

/// Sum of rows that are `width` wide. The pieces depend on the sizes alone and are added in order, so that the sum does
/// not depend on the number of threads.
pub(crate) fn sum_rows(values: &[f32], width: usize) -> Vec<f32> {
    let sum = |rows: &[f32]| {
        let mut sum = vec![0.0; width];
        rows.chunks_exact(width).for_each(|row| add_to(&mut sum, row));
        sum
    };
    total(values.par_chunks(piece_with_sum(width)).map(sum).collect(), width)
}

/// The sum of rows in order.
pub(crate) fn total(rows: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let total = rows.into_iter().reduce(|mut total, row| {
        add_to(&mut total, &row);
        total
    });
    total.unwrap_or_else(|| vec![0.0; width])
}

vectorised! {
    /// `x += other`, over the shorter length.
    fn add_to(x: &mut [f32], other: &[f32]) {
        for (x, other) in x.iter_mut().zip(other) {
            *x += other;
        }
    }

    fn multiply_by(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }

    /// The largest number of a row; `-inf` when there is none.
    fn largest(row: &[f32]) -> f32 {
        largest_of(row)
    }

    /// `Σ e^(x - offset)`.
    fn sum_of_powers(row: &[f32], offset: f32) -> f32 {
        reduce([row; 3], 0.0, |sum, [x, ..]| sum + exp::<FUSED>(x - offset), |a, b| a + b)
    }

    fn sum(row: &[f32]) -> f32 {
        sum_of(row)
    }

    /// Softmax of the first `seen` numbers of each row in place, zeros for the rest; `seen` grows by `step` from row to
    /// row, and counts from none to the width. A row that is `-inf` as far as it is seen becomes zeros.
    fn softmax_rows(rows: &mut [f32], width: usize, seen: isize, step: isize) {
        for (index, row) in rows.chunks_exact_mut(width).enumerate() {
            let (row, hidden) = row.split_at_mut((seen + index as isize * step).clamp(0, width as isize) as usize);
            hidden.fill(0.0);
            let largest = largest_of(row);
            if largest == f32::NEG_INFINITY && !row.iter().any(|x| x.is_nan()) {
                row.fill(0.0);
                continue;
            }
            for x in row.iter_mut() {
                *x = exp::<FUSED>(*x - largest);
            }
            let scale = sum_of(row).recip();
            for x in row.iter_mut() {
                *x *= scale;
            }
        }
    }

    /// `scale * y * (gradient - Σ y * gradient)` in place of the gradient, row by row.
    fn softmax_rows_backward(gradient: &mut [f32], y: &[f32], width: usize, scale: f32) {
        for (gradient, y) in gradient.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
            let dot = dot::<FUSED>(y, gradient);
            for (gradient, &y) in gradient.iter_mut().zip(y) {
                *gradient = scale * y * (*gradient - dot);
            }
        }
    }
}

#[inline(always)]
fn largest_of(row: &[f32]) -> f32 {
    let larger = |largest, x| if x > largest { x } else { largest };
    reduce(
        [row; 3],
        f32::NEG_INFINITY,
        |largest, [x, ..]| larger(largest, x),
        larger,
    )
}

/// Sum of a row, in the body of a vectorised function.
#[inline(always)]
pub(crate) fn sum_of(row: &[f32]) -> f32 {
    reduce([row; 3], 0.0, |sum, [x, ..]| sum + x, |a, b| a + b)
}

/// Sum of the products of two rows of one length.
#[inline(always)]
pub(crate) fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    reduce(
        [a, b, b],
        0.0,
        |sum, [a, b, _]| multiply_add::<FUSED>(a, b, sum),
        |a, b| a + b,
    )
}
