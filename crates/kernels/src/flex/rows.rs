//! Rows of numbers: sums over them, and the softmax of one.

use rayon::prelude::*;

use super::math::exp;
use super::simd::{multiply_add, reduce, vectorised};
use super::storage::piece;

/// Sum of rows that are `width` wide.
pub(crate) fn sum_rows(values: &[f32], width: usize) -> Vec<f32> {
    sum_pieces(values, width, width, |rows, _, sum| {
        rows.chunks_exact(width).for_each(|row| add_to(sum, row))
    })
}

/// Sums of `length` numbers over rows: `add` adds up a piece of the rows, whose first element has the given index.
/// The pieces depend on the sizes alone and are added in order, so the sums do not depend on the number of threads.
pub(crate) fn sum_pieces(
    values: &[f32],
    width: usize,
    length: usize,
    add: impl Fn(&[f32], usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    // Each piece leaves sums behind, so that it should have more than a few rows.
    let piece = (4 * piece(width)).max(64 * width).max(1);
    let sums: Vec<Vec<f32>> = values
        .par_chunks(piece)
        .enumerate()
        .map(|(index, rows)| {
            let mut sums = vec![0.0; length];
            add(rows, index * piece, &mut sums);
            sums
        })
        .collect();
    let total = sums.into_iter().reduce(|mut total, sums| {
        add_to(&mut total, &sums);
        total
    });
    total.unwrap_or_else(|| vec![0.0; length])
}

vectorised! {
    /// `x += other`, over the shorter length.
    fn add_to(x: &mut [f32], other: &[f32]) {
        for (x, other) in x.iter_mut().zip(other) {
            *x += other;
        }
    }

    /// The largest number of a row; `-inf` when there is none.
    fn largest(row: &[f32]) -> f32 {
        let larger = |largest, i: usize| if row[i] > largest { row[i] } else { largest };
        reduce(row.len(), f32::NEG_INFINITY, larger, f32::max)
    }

    /// `Σ e^(x - offset)`.
    fn sum_of_powers(row: &[f32], offset: f32) -> f32 {
        reduce(row.len(), 0.0, |sum, i| sum + exp::<FUSED>(row[i] - offset), |a, b| a + b)
    }

    fn sum(row: &[f32]) -> f32 {
        reduce(row.len(), 0.0, |sum, i| sum + row[i], |a, b| a + b)
    }

    /// Softmax of one row in place; zeros when all of it is `-inf`.
    fn softmax_row(row: &mut [f32]) {
        let largest = largest(row);
        if largest == f32::NEG_INFINITY && !row.iter().any(|x| x.is_nan()) {
            row.fill(0.0);
            return;
        }
        for x in row.iter_mut() {
            *x = exp::<FUSED>(*x - largest);
        }
        let scale = sum(row).recip();
        for x in row.iter_mut() {
            *x *= scale;
        }
    }

    /// `scale * y * (gradient - Σ y * gradient)` in place of the gradient.
    fn softmax_row_backward(gradient: &mut [f32], y: &[f32], scale: f32) {
        let y = &y[..gradient.len()];
        let dot = reduce(y.len(), 0.0, |sum, i| multiply_add::<FUSED>(y[i], gradient[i], sum), |a, b| a + b);
        for (gradient, &y) in gradient.iter_mut().zip(y) {
            *gradient = scale * y * (*gradient - dot);
        }
    }
}
