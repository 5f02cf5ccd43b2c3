//! GEMM fallback without bf16 instructions: products in single precision by the vector units alone, for processors that do not
//! multiply bfloat16: of numbers rounded to it, which the operands hold as lines.

use super::block::{BLOCK, Initial, Target};
use super::lines::{Line, halves, lines};
use super::pack::{DEPTH, PANEL, Tile};
use crate::flex::simd::multiply_add;
#[cfg(target_arch = "x86_64")]
use crate::flex::simd::{Unit, unit};

/// Lines that are taken at a time: those of a panel stay in the first cache.
const LINES: usize = 256;

/// The sums of a block.
type Sums = [[Line; 2]; BLOCK];

/// At least the first rows and columns of a block of the target, from two panels of each operand.
///
/// # Safety
///
/// The target must be valid for writing a block, and `initial` for reading one.
pub(super) unsafe fn block(
    left: &[Tile],
    right: &[Tile],
    target: Target,
    [rows, columns]: [usize; 2],
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
        add(panels(left), panels(right), [rows, columns], &mut sums);
    }
    for (index, sums) in sums.iter().enumerate().take(rows) {
        // SAFETY: the caller promises that the target may be written.
        unsafe { target.at(index, 0).first.cast::<[Line; 2]>().write(*sums) };
    }
}

/// Adds the products of at least the first rows and columns, so many of them.
fn add(left: [&[Line]; 2], right: [&[Line]; 2], count: [usize; 2], sums: &mut Sums) {
    #[cfg(target_arch = "x86_64")]
    match unit() {
        // SAFETY: `unit` has found that this processor has what the function is compiled for.
        Unit::Wide => return unsafe { wide::add(left, right, count[0], sums) },
        // SAFETY: as above.
        Unit::Middle => return unsafe { middle(left, right, count, sums) },
        Unit::Baseline => {}
    }
    panels::<{ cfg!(target_arch = "aarch64") }>(left, right, count, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn middle(left: [&[Line]; 2], right: [&[Line]; 2], count: [usize; 2], sums: &mut Sums) {
    panels::<true>(left, right, count, sums);
}

/// As many rows at a time as leave their sums in registers.
#[inline(always)]
fn panels<const FUSED: bool>(
    left: [&[Line]; 2],
    right: [&[Line]; 2],
    [rows, columns]: [usize; 2],
    sums: &mut Sums,
) {
    for half in 0..columns.div_ceil(PANEL).min(2) {
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
    // From nothing, so that long sums are made of short ones, which loses less.
    let mut sums = [[0.0; PANEL]; ROWS];
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
        for column in 0..PANEL {
            target[index][half][column] += sums[index][column];
        }
    }
}

/// The same with vectors as wide as a line, which the compiler does not find by itself.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{
        _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
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
            for line in 0..left.len() {
                let column = &left[line][row % PANEL..][..ROWS];
                // SAFETY: a line is as long as a vector, here and below.
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
                    let target = target[index][half].as_mut_ptr();
                    // SAFETY: as above.
                    unsafe {
                        _mm512_storeu_ps(target, _mm512_add_ps(_mm512_loadu_ps(target), sums[index][half]))
                    };
                }
            }
        }
    }
}

/// Adds the products of rows, the first 32 numbers of all of them before their next ones, with the tiles of a panel.
pub(super) fn few(tiles: &[Tile], x: &[[f32; DEPTH]], sums: &mut [Line]) {
    // With wider vectors no more than the memory is waited for.
    #[cfg(target_arch = "x86_64")]
    if !matches!(unit(), Unit::Baseline) {
        // SAFETY: the wider units are found only where there is what the function is compiled for.
        return unsafe { few_middle(tiles, x, sums) };
    }
    few_groups::<{ cfg!(target_arch = "aarch64") }>(tiles, x, sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn few_middle(tiles: &[Tile], x: &[[f32; DEPTH]], sums: &mut [Line]) {
    few_groups::<true>(tiles, x, sums);
}

#[inline(always)]
fn few_groups<const FUSED: bool>(tiles: &[Tile], x: &[[f32; DEPTH]], sums: &mut [Line]) {
    let stride = sums.len();
    for (group, sums) in sums.chunks_mut(FEW).enumerate() {
        let x = &x[group * FEW..];
        match sums.len() {
            1 => few_rows::<FUSED, 1>(tiles, x, stride, sums),
            2 => few_rows::<FUSED, 2>(tiles, x, stride, sums),
            3 => few_rows::<FUSED, 3>(tiles, x, stride, sums),
            4 => few_rows::<FUSED, 4>(tiles, x, stride, sums),
            _ => few_rows::<FUSED, FEW>(tiles, x, stride, sums),
        }
    }
}

/// Most rows whose sums are kept in registers together.
const FEW: usize = 5;

#[inline(always)]
fn few_rows<const FUSED: bool, const ROWS: usize>(
    tiles: &[Tile],
    x: &[[f32; DEPTH]],
    stride: usize,
    target: &mut [Line],
) {
    let mut sums = [[0.0; PANEL]; ROWS];
    sums.copy_from_slice(&target[..ROWS]);
    for tile in 0..tiles.len() {
        let x = &x[tile * stride..][..ROWS];
        for pair in 0..DEPTH / 2 {
            let pairs = &tiles[tile].0[pair * PANEL..][..PANEL];
            for row in 0..ROWS {
                let (first, second) = (x[row][2 * pair], x[row][2 * pair + 1]);
                for column in 0..PANEL {
                    let right = halves(pairs[column]);
                    let sum = multiply_add::<FUSED>(first, right[0], sums[row][column]);
                    sums[row][column] = multiply_add::<FUSED>(second, right[1], sum);
                }
            }
        }
    }
    target[..ROWS].copy_from_slice(&sums);
}
