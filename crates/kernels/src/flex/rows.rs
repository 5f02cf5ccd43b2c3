//! Rows of numbers: sums over them, and the softmax of one.

use rayon::prelude::*;

use super::change::Change;
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

    /// Softmax of each row of `width` numbers. A row that is `-inf` throughout becomes zeros.
    fn softmax_all<'a>(rows: Change<'a>, width: usize) -> &'a mut [f32] {
        let mut rows = rows;
        while rows.left() > 0 {
            softmax_next::<FUSED>(&mut rows, width);
        }
        rows.finish()
    }

    /// Softmax of the first `seen` numbers of each row in place, zeros for the rest; `seen` grows by `step` from row to
    /// row, and counts from none to the width.
    fn softmax_rows(rows: &mut [f32], width: usize, seen: isize, step: isize) {
        for (index, row) in rows.chunks_exact_mut(width).enumerate() {
            let seen = (seen + index as isize * step).clamp(0, width as isize) as usize;
            let (row, hidden) = row.split_at_mut(seen);
            hidden.fill(0.0);
            softmax_next::<FUSED>(&mut Change::here(row), seen);
        }
    }

    /// `scale * y * (gradient - Σ y * gradient)` for each row of gradients.
    fn softmax_rows_backward<'a>(gradients: Change<'a>, y: &[f32], width: usize, scale: f32) -> &'a mut [f32] {
        let mut gradients = gradients;
        for y in y.chunks_exact(width).take(gradients.left() / width) {
            let dot = dot::<FUSED>(y, gradients.next(width));
            gradients.some(width, [y], |gradient, [y]| scale * y * (gradient - dot));
        }
        gradients.finish()
    }
}

/// Softmax of the next row.
#[inline(always)]
fn softmax_next<const FUSED: bool>(rows: &mut Change, width: usize) {
    let row = rows.next(width);
    let largest = largest_of(row);
    if largest == f32::NEG_INFINITY && !row.iter().any(|x| x.is_nan()) {
        rows.some(width, [], |_, []| 0.0);
        return;
    }
    let (row, sum) = rows.some(width, [], |x, []| exp::<FUSED>(x - largest));
    let scale = sum.recip();
    for x in row {
        *x *= scale;
    }
}

/// The largest number of a row, found among whole numbers of the same order: compilers make vector code of that.
#[inline(always)]
fn largest_of(row: &[f32]) -> f32 {
    // Of negative numbers, the lower bits count the other way around.
    let turned = |bits: i32| bits ^ ((bits >> 31) & i32::MAX);
    let largest = row
        .iter()
        .fold(turned(f32::NEG_INFINITY.to_bits() as i32), |largest, x| {
            largest.max(turned(x.to_bits() as i32))
        });
    f32::from_bits(turned(largest) as u32)
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
