//! The packing of a tile by AVX-512.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_permutexvar_epi16, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_store_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use super::pack::{DEPTH, PANEL, Tile};

/// Rows of pairs: 16 rows of 32 numbers that follow each other in memory.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn rows(values: &[f32], stride: usize) -> [__m512i; PANEL] {
    let mut rows = [_mm512_setzero_si512(); PANEL];
    for (index, row) in rows.iter_mut().enumerate() {
        let values = &values[index * stride..][..DEPTH];
        *row = narrow(load(&values[..PANEL]), load(&values[PANEL..]));
    }
    rows
}

/// Pairs of rows: 32 rows of 16 numbers that follow each other in memory.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pairs(values: &[f32], stride: usize) -> [__m512i; PANEL] {
    const INTERLEAVED: [u16; 32] = {
        let mut places = [0; 32];
        let mut index = 0;
        while index < 32 {
            places[index] = (index / 2 + index % 2 * 16) as u16;
            index += 1;
        }
        places
    };
    // SAFETY: both types are 64 bytes of whatever content.
    let interleaved: __m512i = unsafe { transmute(INTERLEAVED) };
    let mut pairs = [_mm512_setzero_si512(); PANEL];
    for (index, pair) in pairs.iter_mut().enumerate() {
        let first = load(&values[2 * index * stride..][..PANEL]);
        let second = load(&values[(2 * index + 1) * stride..][..PANEL]);
        *pair = _mm512_permutexvar_epi16(interleaved, narrow(first, second));
    }
    pairs
}

/// Rows as columns.
#[target_feature(enable = "avx512f")]
pub(super) fn transposed(rows: [__m512i; PANEL]) -> [__m512i; PANEL] {
    // Each step puts together what lies 1, 2, 4 and 8 rows apart.
    let mut a = rows;
    for i in (0..16).step_by(2) {
        a[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut b = a;
    for i in (0..16).step_by(4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    // Vector `i` of a group of four now holds columns `i`, `i + 4`, `i + 8` and `i + 12` of its four rows.
    let mut c = b;
    for i in 0..4 {
        for half in [0, 8] {
            c[half + i] = _mm512_shuffle_i32x4::<0x88>(b[half + i], b[half + i + 4]);
            c[half + i + 4] = _mm512_shuffle_i32x4::<0xdd>(b[half + i], b[half + i + 4]);
        }
    }
    let mut d = c;
    for i in 0..8 {
        d[i] = _mm512_shuffle_i32x4::<0x88>(c[i], c[i + 8]);
        d[i + 8] = _mm512_shuffle_i32x4::<0xdd>(c[i], c[i + 8]);
    }
    d
}

/// Writes the rows of a tile.
#[target_feature(enable = "avx512f")]
pub(super) fn store(rows: [__m512i; PANEL], tile: &mut Tile) {
    for (row, target) in rows.iter().zip(tile.0.as_chunks_mut::<PANEL>().0) {
        // SAFETY: the target is 64 bytes, and a tile begins at a multiple of 64.
        unsafe { _mm512_store_si512(target.as_mut_ptr().cast(), *row) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    // SAFETY: the slice is checked to hold 16 numbers.
    unsafe { _mm512_loadu_ps(values[..PANEL].as_ptr()) }
}

/// Rounded to bfloat16, the numbers of `first` before those of `second`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn narrow(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both types are 64 bytes of whatever content.
    unsafe { transmute(_mm512_cvtne2ps_pbh(second, first)) }
}
