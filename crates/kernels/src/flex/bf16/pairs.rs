//! GEMM by AVX-512 BF16 (`vdpbf16ps`), which multiplies pairs and adds both to a sum.

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};
use std::mem::transmute;

use super::block::{Initial, Target};
use super::few::GROUP;
use super::pack::{PANEL, Tile};
use super::wide::ahead;

/// Rows that are summed at a time: with two vectors each they fill half of the registers.
const ROWS: usize = 8;

/// At least the first `rows` of a block of the target, from two panels of each operand.
///
/// # Safety
///
/// The processor must have the instructions, both operands be of one length, the target valid for writing a block, and
/// `initial` for reading one.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn block(
    left: &[Tile],
    right: &[Tile],
    target: Target,
    rows: usize,
    initial: Option<Initial>,
) {
    let depth = left.len() / 2;
    let right = right.split_at(depth);
    for row in (0..rows).step_by(ROWS) {
        let left = &left[row / PANEL * depth..][..depth];
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        if let Some(initial) = initial {
            for (index, sums) in sums.iter_mut().enumerate() {
                for (half, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller promises that `initial` may be read.
                    *sum = unsafe {
                        _mm512_loadu_ps(initial.first.add((row + index) * initial.stride + half * PANEL))
                    };
                }
            }
        }
        for ((left, right0), right1) in left.iter().zip(right.0).zip(right.1) {
            multiply(&mut sums, left, row % PANEL, [right0, right1]);
        }
        for (index, sums) in sums.iter().enumerate() {
            for (half, sum) in sums.iter().enumerate() {
                // SAFETY: the caller promises that the target may be written.
                unsafe { _mm512_storeu_ps(target.at(row + index, half * PANEL).first, *sum) };
            }
        }
    }
}

/// Adds the products of [`ROWS`] rows of a tile, from `row` on, with two tiles. Loops over indices alone: iterators of vectors
/// would not be inlined here, and every sum would go through memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn multiply(sums: &mut [[__m512; 2]; ROWS], left: &Tile, row: usize, right: [&Tile; 2]) {
    for pair in 0..16 {
        let (right0, right1) = (bf16(right[0], pair), bf16(right[1], pair));
        for index in 0..ROWS {
            let left = _mm512_set1_epi32(left.0[(row + index) * 16 + pair] as i32);
            // SAFETY: both types are 64 bytes of whatever content.
            let left: __m512bh = unsafe { transmute(left) };
            sums[index][0] = _mm512_dpbf16_ps(sums[index][0], left, right0);
            sums[index][1] = _mm512_dpbf16_ps(sums[index][1], left, right1);
        }
    }
}

/// Adds the products of up to [`GROUP`] rows of pairs, the first blocks of all of them before their second ones, with the
/// tiles of a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn few(tiles: &[Tile], x: &[[u32; 16]], sums: &mut [[f32; PANEL]]) {
    let few = match sums.len() {
        1 => few_rows::<1>,
        2 => few_rows::<2>,
        3 => few_rows::<3>,
        4 => few_rows::<4>,
        5 => few_rows::<5>,
        6 => few_rows::<6>,
        7 => few_rows::<7>,
        _ => few_rows::<GROUP>,
    };
    few(tiles, x, sums);
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn few_rows<const ROWS: usize>(tiles: &[Tile], x: &[[u32; 16]], target: &mut [[f32; PANEL]]) {
    // Two sums a row, so that additions need not wait for each other; loops over indices alone, since iterators of vectors
    // would not be inlined here.
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for row in 0..ROWS {
        // SAFETY: the array holds 16 numbers.
        sums[row][0] = unsafe { _mm512_loadu_ps(target[row].as_ptr()) };
    }
    for (tile, x) in tiles.iter().zip(x.as_chunks::<ROWS>().0) {
        for first in (0..16).step_by(2) {
            for odd in 0..2 {
                let pair = first + odd;
                ahead(&tile.0[pair * PANEL]);
                let right = bf16(tile, pair);
                for row in 0..ROWS {
                    let left = _mm512_set1_epi32(x[row][pair] as i32);
                    // SAFETY: both types are 64 bytes of whatever content.
                    let left: __m512bh = unsafe { transmute(left) };
                    sums[row][odd] = _mm512_dpbf16_ps(sums[row][odd], left, right);
                }
            }
        }
    }
    for row in 0..ROWS {
        let sum = _mm512_add_ps(sums[row][0], sums[row][1]);
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(target[row].as_mut_ptr(), sum) };
    }
}

/// A row of a tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16(tile: &Tile, row: usize) -> __m512bh {
    // SAFETY: a tile has 16 rows of 64 bytes and begins at a multiple of 64; the types are as large.
    unsafe { transmute(_mm512_load_si512(tile.0[row * 16..][..16].as_ptr().cast())) }
}
