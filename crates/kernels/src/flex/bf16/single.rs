//! Products in single precision by the vector units alone, for processors that do not multiply bfloat16: of numbers rounded
//! to it, which the operands hold as lines.

use super::block::{BLOCK, Initial, Target};
use super::lines::{Line, halves, lines};
use super::pack::{DEPTH, PANEL, Tile};
#[cfg(target_arch = "x86_64")]
use crate::flex::simd::{Unit, unit};
use crate::flex::simd::{multiply_add, vectorised};

/// Lines that are taken at a time: those of a panel stay in the first cache.
const LINES: usize = 256;

/// The sums of a block.
type Sums = [[Line; 2]; BLOCK];

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
    let mut sums: Sums = [[[0.0; PANEL]; 2]; BLOCK];
    if let Some(initial) = initial {
        for (index, sums) in sums.iter_mut().enumerate().take(rows) {
            // SAFETY: the caller promises that `initial` may be read.
            *sums = unsafe {
                initial
                    .first
                    .add(index * initial.stride)
                    .cast::<[Line; 2]>()
                    .read()
            };
        }
    }
    let (left, right) = (lines(left), lines(right));
    let depth = left.len() / 2;
    for first in (0..depth).step_by(LINES) {
        let part = first..(first + LINES).min(depth);
        let panels = |operand| {
            let (first, second): (&[Line], &[Line]) = <[Line]>::split_at(operand, depth);
            [&first[part.clone()], &second[part.clone()]]
        };
        add(panels(left), panels(right), rows, &mut sums);
    }
    for (index, sums) in sums.iter().enumerate().take(rows) {
        // SAFETY: the caller promises that the target may be written.
        unsafe { target.at(index, 0).first.cast::<[Line; 2]>().write(*sums) };
    }
}

/// Adds the products of at least the first `rows` rows.
fn add(left: [&[Line]; 2], right: [&[Line]; 2], rows: usize, sums: &mut Sums) {
    #[cfg(target_arch = "x86_64")]
    match unit() {
        // SAFETY: `unit` has found that this processor has what the function is compiled for.
        Unit::Wide => return unsafe { wide::add(left, right, rows, sums) },
        // SAFETY: as above.
        Unit::Middle => return unsafe { middle(left, right, rows, sums) },
        Unit::Baseline => {}
    }
    panels::<{ cfg!(target_arch = "aarch64") }>(left, right, rows, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn middle(left: [&[Line]; 2], right: [&[Line]; 2], rows: usize, sums: &mut Sums) {
    panels::<true>(left, right, rows, sums);
}

/// As many rows at a time as leave their sums in registers.
#[inline(always)]
fn panels<const FUSED: bool>(left: [&[Line]; 2], right: [&[Line]; 2], rows: usize, sums: &mut Sums) {
    for half in 0..2 {
        for panel in 0..2 {
            let first = panel * PANEL;
            let count = rows.saturating_sub(first);
            let (left, right, sums) = (left[panel], right[half], &mut sums[first..][..PANEL]);
            if FUSED {
                add_rows::<FUSED, 5>(left, right, 0, half, count, sums);
                add_rows::<FUSED, 5>(left, right, 5, half, count, sums);
                add_rows::<FUSED, 6>(left, right, 10, half, count, sums);
            } else {
                for row in (0..PANEL).step_by(2) {
                    add_rows::<FUSED, 2>(left, right, row, half, count, sums);
                }
            }
        }
    }
}

/// Adds the products of some rows of a panel, from `row` on, with another panel, if that is not beyond `count`.
#[inline(always)]
fn add_rows<const FUSED: bool, const ROWS: usize>(
    left: &[Line],
    right: &[Line],
    row: usize,
    half: usize,
    count: usize,
    target: &mut [[Line; 2]],
) {
    if row >= count {
        return;
    }
    let target = &mut target[row..][..ROWS];
    let mut sums = [[0.0; PANEL]; ROWS];
    for index in 0..ROWS {
        sums[index] = target[index][half];
    }
    let right = &right[..left.len()];
    for line in 0..left.len() {
        let left = &left[line][row..][..ROWS];
        for index in 0..ROWS {
            for column in 0..PANEL {
                sums[index][column] =
                    multiply_add::<FUSED>(left[index], right[line][column], sums[index][column]);
            }
        }
    }
    for index in 0..ROWS {
        target[index][half] = sums[index];
    }
}

/// The same with vectors as wide as a line, which the compiler does not find by itself.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{BLOCK, Line, PANEL, Sums};

    /// Rows that are summed at a time: with two vectors each they fill half of the registers.
    const ROWS: usize = 8;

    #[target_feature(enable = "avx512f")]
    pub(super) fn add(left: [&[Line]; 2], right: [&[Line]; 2], rows: usize, target: &mut Sums) {
        for row in (0..rows.min(BLOCK)).step_by(ROWS) {
            let left = left[row / PANEL];
            let target = &mut target[row..][..ROWS];
            let [right0, right1] = [&right[0][..left.len()], &right[1][..left.len()]];
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            for index in 0..ROWS {
                for half in 0..2 {
                    // SAFETY: a line is as long as a vector, here and below.
                    sums[index][half] = unsafe { _mm512_loadu_ps(target[index][half].as_ptr()) };
                }
            }
            for line in 0..left.len() {
                let column = &left[line][row % PANEL..][..ROWS];
                // SAFETY: as above.
                let right = unsafe {
                    [
                        _mm512_loadu_ps(right0[line].as_ptr()),
                        _mm512_loadu_ps(right1[line].as_ptr()),
                    ]
                };
                for index in 0..ROWS {
                    let left = _mm512_set1_ps(column[index]);
                    sums[index][0] = _mm512_fmadd_ps(left, right[0], sums[index][0]);
                    sums[index][1] = _mm512_fmadd_ps(left, right[1], sums[index][1]);
                }
            }
            for index in 0..ROWS {
                for half in 0..2 {
                    // SAFETY: as above.
                    unsafe { _mm512_storeu_ps(target[index][half].as_mut_ptr(), sums[index][half]) };
                }
            }
        }
    }
}

vectorised! {
    /// Adds the products of rows of pairs, the first blocks of all of them before their second ones, with the tiles of a panel.
    fn few(tiles: &[Tile], x: &[[u32; DEPTH / 2]], sums: &mut [Line]) {
        for (tile, x) in tiles.iter().zip(x.chunks(sums.len())) {
            for (x, sums) in x.iter().zip(sums.iter_mut()) {
                let mut totals = *sums;
                for (left, right) in x.iter().zip(tile.0.as_chunks::<PANEL>().0) {
                    let [left0, left1] = halves(*left);
                    for (total, right) in totals.iter_mut().zip(right) {
                        let [right0, right1] = halves(*right);
                        *total = multiply_add::<FUSED>(left1, right1, multiply_add::<FUSED>(left0, right0, *total));
                    }
                }
                *sums = totals;
            }
        }
    }
}
