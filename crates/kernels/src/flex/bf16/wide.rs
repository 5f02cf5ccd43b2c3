//! The packing and unpacking of a tile by AVX-512.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm256_loadu_si256, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_cvtph_ps, _mm512_extracti64x4_epi64, _mm512_fmadd_ps, _mm512_load_si512,
    _mm512_maskz_loadu_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_store_si512,
    _mm512_sub_ps, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::mem::transmute;

use half::f16;

use super::levels::{Bits, Line, QUADS, Scale};
use super::pack::{DEPTH, PANEL, Tile};

/// Packs rows of up to 32 numbers that follow each other in memory, `size` of both, with zeros for what is missing: as
/// rows of pairs, or `turned` to pairs of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn rows<const DIGITS: usize>(
    values: &[f32],
    stride: usize,
    size: [usize; 2],
    turned: bool,
    tiles: &mut [Tile; DIGITS],
) {
    let mut rows = [[_mm512_setzero_si512(); PANEL]; DIGITS];
    for index in 0..size[0] {
        fetch(values, (index + PANEL) * stride);
        fetch(values, (index + PANEL) * stride + PANEL);
        let (first, second) = values[index * stride..][..size[1]].split_at(PANEL.min(size[1]));
        let digits = digits::<DIGITS>(load(first), load(second));
        for digit in 0..DIGITS {
            rows[digit][index] = digits[digit];
        }
    }
    for digit in 0..DIGITS {
        put(&rows[digit], turned, &mut tiles[digit]);
    }
}

/// Packs rows, `size` of both, whose columns are numbers that follow each other in memory, `stride` from column to
/// column, with zeros for what is missing: as pairs of rows, or `turned` to rows of pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pairs<const DIGITS: usize>(
    values: &[f32],
    stride: usize,
    size: [usize; 2],
    turned: bool,
    tiles: &mut [Tile; DIGITS],
) {
    let mut pairs = [[_mm512_setzero_si512(); PANEL]; DIGITS];
    for index in 0..size[1].div_ceil(2) {
        fetch(values, (2 * index + DEPTH) * stride);
        fetch(values, (2 * index + 1 + DEPTH) * stride);
        let first = load(&values[2 * index * stride..][..size[0]]);
        let second = match 2 * index + 1 {
            missing if missing == size[1] => _mm512_setzero_ps(),
            column => load(&values[column * stride..][..size[0]]),
        };
        let digits = digits::<DIGITS>(first, second);
        for digit in 0..DIGITS {
            pairs[digit][index] = interleaved(digits[digit]);
        }
    }
    for digit in 0..DIGITS {
        put(&pairs[digit], turned, &mut tiles[digit]);
    }
}

/// Asks for numbers that a later tile has where this one has others: by itself, the processor follows fewer rows than a tile
/// holds. They may lie outside of the slice.
#[inline]
#[target_feature(enable = "sse")]
fn fetch(values: &[f32], place: usize) {
    _mm_prefetch::<_MM_HINT_T1>(values.as_ptr().wrapping_add(place).cast());
}

/// The digits of two vectors: those of the first before those of the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn digits<const DIGITS: usize>(mut first: __m512, mut second: __m512) -> [__m512i; DIGITS] {
    let mut digits = [_mm512_setzero_si512(); DIGITS];
    for digit in &mut digits {
        let rounded = narrow(first, second);
        *digit = rounded;
        // What a digit leaves is exact: a number in single precision.
        first = _mm512_sub_ps(first, single(_mm512_castsi512_si256(rounded)));
        second = _mm512_sub_ps(second, single(_mm512_extracti64x4_epi64::<1>(rounded)));
    }
    digits
}

/// Numbers in bfloat16 as single precision.
#[inline]
#[target_feature(enable = "avx512f")]
fn single(values: __m256i) -> __m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values)))
}

/// A tile from its levels.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn unpack(bits: Bits, lines: &[Line], scale: &Scale, tile: &mut Tile) {
    let (step, offset) = (widened(&scale.step), widened(&scale.offset));
    let mut rows = [_mm512_setzero_si512(); PANEL];
    match bits {
        Bits::Four => {
            let low = _mm512_set1_epi32(0x0f0f_0f0f);
            for line in 0..QUADS / 2 {
                ahead(&lines[line]);
                let words = words(&lines[line]);
                let first = _mm512_and_si512(words, low);
                let second = _mm512_and_si512(_mm512_srli_epi32::<4>(words), low);
                [rows[4 * line], rows[4 * line + 1]] = numbers(first, step, offset);
                [rows[4 * line + 2], rows[4 * line + 3]] = numbers(second, step, offset);
            }
        }
        Bits::Eight => {
            for line in 0..QUADS {
                ahead(&lines[line]);
                [rows[2 * line], rows[2 * line + 1]] = numbers(words(&lines[line]), step, offset);
            }
        }
    }
    store(&rows, tile);
}

/// Two rows of pairs from the levels of a quad.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn numbers(quad: __m512i, step: __m512, offset: __m512) -> [__m512i; 2] {
    let byte = _mm512_set1_epi32(255);
    let second = _mm512_and_si512(_mm512_srli_epi32::<8>(quad), byte);
    let third = _mm512_and_si512(_mm512_srli_epi32::<16>(quad), byte);
    let number = |level| _mm512_fmadd_ps(_mm512_cvtepi32_ps(level), step, offset);
    [
        interleaved(narrow(number(_mm512_and_si512(quad, byte)), number(second))),
        interleaved(narrow(number(third), number(_mm512_srli_epi32::<24>(quad)))),
    ]
}

/// A line as it is.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn words(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes and begins at a multiple of 64.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

/// Asks for the memory 8 KiB behind a place that is read along: a fifth faster than what the processor guesses by itself.
#[inline]
#[target_feature(enable = "sse")]
pub(super) fn ahead<T>(place: &T) {
    const DISTANCE: usize = 8192;
    _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(place).wrapping_byte_add(DISTANCE).cast());
}

/// Numbers in half precision as single precision.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn widened(values: &[f16; PANEL]) -> __m512 {
    // SAFETY: the array is 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) })
}

/// Rows as columns.
#[target_feature(enable = "avx512f")]
pub(super) fn transposed(rows: &[__m512i; PANEL]) -> [__m512i; PANEL] {
    // Each step puts together what lies 1, 2, 4 and 8 rows apart.
    let mut a = *rows;
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

/// Writes the rows of a tile, or as its columns.
#[inline]
#[target_feature(enable = "avx512f")]
fn put(rows: &[__m512i; PANEL], turned: bool, tile: &mut Tile) {
    if turned {
        store(&transposed(rows), tile);
    } else {
        store(rows, tile);
    }
}

/// Writes the rows of a tile.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(rows: &[__m512i; PANEL], tile: &mut Tile) {
    let target: *mut __m512i = tile.0.as_mut_ptr().cast();
    for (index, row) in rows.iter().enumerate() {
        // SAFETY: a tile has 16 rows of 64 bytes, and begins at a multiple of 64.
        unsafe { _mm512_store_si512(target.add(index), *row) };
    }
}

/// At most 16 numbers, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    assert!(values.len() <= PANEL, "no more numbers than a vector holds");
    let present = ((1u32 << values.len()) - 1) as u16;
    // SAFETY: no more is read than the slice holds.
    unsafe { _mm512_maskz_loadu_ps(present, values.as_ptr()) }
}

/// Each number of the first half before its partner of the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved(halves: __m512i) -> __m512i {
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
    let places: __m512i = unsafe { transmute(INTERLEAVED) };
    _mm512_permutexvar_epi16(places, halves)
}

/// Rounded to bfloat16, the numbers of `first` before those of `second`.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn narrow(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both types are 64 bytes of whatever content.
    unsafe { transmute(_mm512_cvtne2ps_pbh(second, first)) }
}
