//! Products in single precision, for processors without bfloat16: the same packed operands, widened on the way.

use super::block::{BLOCK, Initial, Target};
use super::pack::{DEPTH, PANEL, Tile};
use crate::flex::simd::{multiply_add, vectorised};

/// Rows that are summed at a time.
const ROWS: usize = 4;

/// At least the first `rows` of a block of the target, from two panels of each operand.
///
/// # Safety
///
/// The target must be valid for writing a block, and `initial` for reading one.
pub(super) unsafe fn block(
    left: &[Tile],
    right: &[Tile],
    target: Target,
    rows: usize,
    initial: Option<Initial>,
) {
    let depth = left.len() / 2;
    for row in (0..rows).step_by(ROWS) {
        for column in (0..BLOCK).step_by(PANEL) {
            let mut sums = [[0.0; PANEL]; ROWS];
            if let Some(initial) = initial {
                for (index, sums) in sums.iter_mut().enumerate() {
                    let offset = (row + index) * initial.stride + column;
                    // SAFETY: the caller promises that `initial` may be read.
                    *sums = unsafe { initial.first.add(offset).cast::<[f32; PANEL]>().read() };
                }
            }
            let left = &left[row / PANEL * depth..][..depth];
            let right = &right[column / PANEL * depth..][..depth];
            multiply(&mut sums, left, row % PANEL, right);
            for (index, sums) in sums.iter().enumerate() {
                // SAFETY: the caller promises that the target may be written.
                unsafe {
                    target
                        .at(row + index, column)
                        .first
                        .cast::<[f32; PANEL]>()
                        .write(*sums)
                };
            }
        }
    }
}

vectorised! {
    /// Adds the products of [`ROWS`] rows of a panel, from `row` on, with another panel.
    fn multiply(sums: &mut [[f32; PANEL]; ROWS], left: &[Tile], row: usize, right: &[Tile]) {
        let mut totals = *sums;
        for (left, right) in left.iter().zip(right) {
            for (pair, right) in right.0.as_chunks::<PANEL>().0.iter().enumerate() {
                let first: [f32; PANEL] = right.map(|pair| f32::from_bits(pair << 16));
                let second: [f32; PANEL] = right.map(|pair| f32::from_bits(pair & 0xffff_0000));
                for (index, totals) in totals.iter_mut().enumerate() {
                    let pair = left.0[(row + index) * 16 + pair];
                    let (left0, left1) = (f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000));
                    for column in 0..PANEL {
                        let sum = multiply_add::<FUSED>(left0, first[column], totals[column]);
                        totals[column] = multiply_add::<FUSED>(left1, second[column], sum);
                    }
                }
            }
        }
        *sums = totals;
    }

    /// Adds the products of rows of pairs, the first blocks of all of them before their second ones, with the tiles of a panel.
    fn few(tiles: &[Tile], x: &[[u32; DEPTH / 2]], sums: &mut [[f32; PANEL]]) {
        for (tile, x) in tiles.iter().zip(x.chunks(sums.len())) {
            for (x, sums) in x.iter().zip(sums.iter_mut()) {
                let mut totals = *sums;
                for (left, right) in x.iter().zip(tile.0.as_chunks::<PANEL>().0) {
                    let (left0, left1) = (f32::from_bits(left << 16), f32::from_bits(left & 0xffff_0000));
                    for (total, right) in totals.iter_mut().zip(right) {
                        let sum = multiply_add::<FUSED>(left0, f32::from_bits(right << 16), *total);
                        *total = multiply_add::<FUSED>(left1, f32::from_bits(right & 0xffff_0000), sum);
                    }
                }
                *sums = totals;
            }
        }
    }
}
