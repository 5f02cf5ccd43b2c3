//! Split bf16 (bf16x3): operands in single precision: a line holds one number of each of the 16 rows of a panel, and lines
//! follow each other along the sum. A tile has room for 16 of them.

use super::levels::{self, Bits, QUADS, Scale, split};
use super::pack::{DEPTH, PANEL, Tile, narrow};
use crate::flex::simd::{multiply_add, vectorised};

/// A number of each row of a panel.
pub(super) type Line = [f32; PANEL];

/// Tiles as lines.
pub(super) fn lines(tiles: &[Tile]) -> &[Line] {
    // SAFETY: a tile is 16 times 16 words without a gap, aligned as a number at least, and every pattern of 32 bits is a number.
    unsafe { std::slice::from_raw_parts(tiles.as_ptr().cast(), PANEL * tiles.len()) }
}

/// [`lines`] to be written.
pub(super) fn lines_mut(tiles: &mut [Tile]) -> &mut [Line] {
    // SAFETY: as above; every pattern of a number is a word, and the tiles are borrowed as long as the lines.
    unsafe { std::slice::from_raw_parts_mut(tiles.as_mut_ptr().cast(), PANEL * tiles.len()) }
}

/// The nearest number that bfloat16 has, ties to even.
#[inline(always)]
pub(super) fn nearest(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // A quiet one: a NaN whose mark is in the lower half must not become an infinity.
    let bits = if x.is_nan() { bits | 0x40_0000 } else { rounded };
    f32::from_bits(bits & 0xffff_0000)
}

/// The two numbers of a pair.
#[inline(always)]
pub(super) fn halves(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
}

/// The pair of two numbers, rounded.
#[inline(always)]
fn joined(first: f32, second: f32) -> u32 {
    u32::from(narrow(first)) | u32::from(narrow(second)) << 16
}

vectorised! {
    /// Rounds all numbers.
    fn round(lines: &mut [Line]) {
        for value in lines.as_flattened_mut() {
            *value = nearest(*value);
        }
    }

    /// Takes columns of 16 numbers, `stride` apart.
    fn columns(values: &[f32], stride: usize, lines: &mut [Line]) {
        for (index, line) in lines.iter_mut().enumerate() {
            line.copy_from_slice(&values[index * stride..][..PANEL]);
        }
    }

    /// Takes 16 rows, `stride` apart, of as many numbers as there are lines: a multiple of four.
    fn rows(values: &[f32], stride: usize, lines: &mut [Line]) {
        let lines = lines.as_chunks_mut::<4>().0;
        for row in (0..PANEL).step_by(4) {
            let first = fours(values, row * stride, lines.len());
            let second = fours(values, (row + 1) * stride, lines.len());
            let third = fours(values, (row + 2) * stride, lines.len());
            let fourth = fours(values, (row + 3) * stride, lines.len());
            for index in 0..lines.len() {
                let square = transposed([first[index], second[index], third[index], fourth[index]]);
                for next in 0..4 {
                    for place in 0..4 {
                        lines[index][next][row + place] = square[next][place];
                    }
                }
            }
        }
    }

    /// The numbers of a tile of pairs.
    fn widen(tile: &Tile, lines: &mut [Line]) {
        for (pair, pairs) in tile.0.as_chunks::<PANEL>().0.iter().enumerate() {
            for row in 0..PANEL {
                let [first, second] = halves(pairs[row]);
                lines[2 * pair][row] = first;
                lines[2 * pair + 1][row] = second;
            }
        }
    }

    /// Rounds to pairs along the sum, the first of a pair in the lower half: each with its element of every row.
    fn column_pairs(lines: &[Line; DEPTH], tile: &mut Tile) {
        for (pair, pairs) in tile.0.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            for row in 0..PANEL {
                pairs[row] = joined(lines[2 * pair][row], lines[2 * pair + 1][row]);
            }
        }
    }

    /// The same, row by row.
    fn row_pairs(lines: &[Line; DEPTH], tile: &mut Tile) {
        for (row, pairs) in tile.0.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            for pair in 0..PANEL {
                pairs[pair] = joined(lines[2 * pair][row], lines[2 * pair + 1][row]);
            }
        }
    }

    /// The numbers of a tile of levels, rounded.
    fn unpack(bits: Bits, levels: &[levels::Line], scale: &Scale, lines: &mut [Line; DEPTH]) {
        let [step, offset] = scale.widened();
        let mut quads = [[0; PANEL]; QUADS];
        split(bits, levels, &mut quads);
        for (column, line) in lines.iter_mut().enumerate() {
            let (words, shift) = (&quads[column / 4], column % 4 * 8);
            for row in 0..PANEL {
                let level = (words[row] >> shift & 255) as i32;
                line[row] = nearest(multiply_add::<FUSED>(level as f32, step[row], offset[row]));
            }
        }
    }
}

/// So many fours of numbers from a place on.
#[inline(always)]
fn fours(values: &[f32], place: usize, count: usize) -> &[[f32; 4]] {
    &values[place..].as_chunks().0[..count]
}

/// Rows as columns.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    use std::arch::x86_64::{__m128, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps};
    use std::mem::transmute;

    // SAFETY: both types are four numbers, and every processor of the architecture has the instructions.
    unsafe {
        let [a, b, c, d]: [__m128; 4] = transmute(rows);
        let (low, high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (other_low, other_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        transmute([
            _mm_movelh_ps(low, other_low),
            _mm_movehl_ps(other_low, low),
            _mm_movelh_ps(high, other_high),
            _mm_movehl_ps(other_high, high),
        ])
    }
}

/// Rows as columns.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn transposed(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    let column = |index: usize| [rows[0][index], rows[1][index], rows[2][index], rows[3][index]];
    [column(0), column(1), column(2), column(3)]
}

/// From the lines of 32 inputs, of 16 outputs in each of two sources, to the lines of these 32 outputs, of 16 of the inputs in
/// each of two targets.
pub(super) fn turn(source: [&[Line; DEPTH]; 2], target: [&mut [Line]; 2]) {
    for (inputs, target) in target.into_iter().enumerate() {
        for (source, target) in source.iter().zip(target.chunks_exact_mut(PANEL)) {
            rows(source[inputs * PANEL..].as_flattened(), PANEL, target);
        }
    }
}
