//! Transpose of packed weights: tiles turned around, for sums along outputs instead of along inputs.

#[cfg(target_arch = "x86_64")]
use super::pack::DEPTH;
use super::pack::{PANEL, Tile};
#[cfg(target_arch = "x86_64")]
use super::unit::{Unit, unit};

/// From pairs of 32 inputs, for 16 outputs in each of two tiles, to pairs of these 32 outputs, for 16 of the inputs in each.
pub(super) fn turn(source: [&Tile; 2], target: [&mut Tile; 2]) {
    #[cfg(target_arch = "x86_64")]
    if unit() != Unit::Single {
        // SAFETY: the units other than `Single` are found only where there are AVX-512 and its bfloat16.
        return unsafe { turn_wide(source, target) };
    }
    let number = |output: usize, input: usize| {
        let pair = source[output / PANEL].0[input / 2 * PANEL + output % PANEL];
        pair >> (16 * (input % 2)) & 0xffff
    };
    for (half, tile) in target.into_iter().enumerate() {
        for (index, pair) in tile.0.iter_mut().enumerate() {
            let (output, input) = (index / PANEL * 2, half * PANEL + index % PANEL);
            *pair = number(output, input) | number(output + 1, input) << 16;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn turn_wide(source: [&Tile; 2], target: [&mut Tile; 2]) {
    use std::arch::x86_64::{_mm512_load_si512, _mm512_set4_epi32, _mm512_shuffle_epi8, _mm512_store_si512};

    /// Rows of half a tile.
    const HALF: usize = DEPTH / 4;

    // Two neighbours of a row are two outputs, each with a pair of inputs: the middle two of these four numbers change places.
    let middle = _mm512_set4_epi32(0x0f0e_0b0a, 0x0d0c_0908, 0x0706_0302, 0x0504_0100);
    for (inputs, target) in target.into_iter().enumerate() {
        for (outputs, source) in source.into_iter().enumerate() {
            let mut rows = [middle; HALF];
            for (index, row) in rows.iter_mut().enumerate() {
                let source = &source.0[(inputs * HALF + index) * PANEL..][..PANEL];
                // SAFETY: a row is 64 bytes, and begins at a multiple of 64.
                *row = _mm512_shuffle_epi8(unsafe { _mm512_load_si512(source.as_ptr().cast()) }, middle);
            }
            let columns = transposed(&rows);
            let rows = target.0[outputs * HALF * PANEL..].as_chunks_mut::<PANEL>().0;
            for (row, column) in rows.iter_mut().zip(columns) {
                // SAFETY: as above.
                unsafe { _mm512_store_si512(row.as_mut_ptr().cast(), column) };
            }
        }
    }
}

/// Eight rows of eight numbers of 64 bits as columns.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: &[std::arch::x86_64::__m512i; 8]) -> [std::arch::x86_64::__m512i; 8] {
    use std::arch::x86_64::{_mm512_shuffle_i64x2, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64};

    let mut columns = *rows;
    for odd in 0..2 {
        // Of each two rows, the columns of one parity, two numbers each.
        let mut pairs = [rows[0]; 4];
        for (index, pair) in pairs.iter_mut().enumerate() {
            let (first, second) = (rows[2 * index], rows[2 * index + 1]);
            *pair = match odd {
                0 => _mm512_unpacklo_epi64(first, second),
                _ => _mm512_unpackhi_epi64(first, second),
            };
        }
        let [a, b, c, d] = pairs;
        let [low, high] = [
            _mm512_shuffle_i64x2::<0x44>(a, b),
            _mm512_shuffle_i64x2::<0xee>(a, b),
        ];
        let [other_low, other_high] = [
            _mm512_shuffle_i64x2::<0x44>(c, d),
            _mm512_shuffle_i64x2::<0xee>(c, d),
        ];
        columns[odd] = _mm512_shuffle_i64x2::<0x88>(low, other_low);
        columns[2 + odd] = _mm512_shuffle_i64x2::<0xdd>(low, other_low);
        columns[4 + odd] = _mm512_shuffle_i64x2::<0x88>(high, other_high);
        columns[6 + odd] = _mm512_shuffle_i64x2::<0xdd>(high, other_high);
    }
    columns
}
