//! Quantized GEMV by AVX2 (`vpmaddwd`): products of rows in 16 bits with levels by AVX2, which multiplies pairs of words by
//! pairs and adds both: sums over 32 neighbours are exact, as by every unit.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256,
    _mm256_srli_epi16, _mm256_storeu_ps,
};

use half::f16;

use super::fixed::Block;
use super::levels::{Bits, Line, QUADS, Scale};
use super::pack::PANEL;
use super::wide::ahead;

/// Most rows whose sums are kept in registers together.
const ROWS: usize = 4;

/// Numbers of a vector.
const HALF: usize = PANEL / 2;

/// Adds the products of rows of blocks, which are `stride` apart, with the tiles of a panel.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add(
    bits: Bits,
    lines: &[Line],
    scales: &[Scale],
    blocks: &[Block],
    stride: usize,
    sums: &mut [[f32; PANEL]],
) {
    for (group, sums) in sums.chunks_mut(ROWS).enumerate() {
        let blocks = &blocks[group * ROWS..];
        let add = match (bits, sums.len()) {
            (Bits::Four, 1) => rows::<true, 1>,
            (Bits::Four, 2) => rows::<true, 2>,
            (Bits::Four, 3) => rows::<true, 3>,
            (Bits::Four, _) => rows::<true, ROWS>,
            (Bits::Eight, 1) => rows::<false, 1>,
            (Bits::Eight, 2) => rows::<false, 2>,
            (Bits::Eight, 3) => rows::<false, 3>,
            (Bits::Eight, _) => rows::<false, ROWS>,
        };
        // One half of the panel after the other, so that the registers suffice: the second finds the lines in the cache.
        for half in 0..2 {
            add(lines, scales, blocks, stride, half * HALF, sums);
        }
    }
}

/// [`add`] for a number of rows and the half of the panel that begins at a place. Vectors are looked up by index: iterators of
/// them would not be inlined here.
#[target_feature(enable = "avx2,fma,f16c")]
fn rows<const FOUR: bool, const ROWS: usize>(
    lines: &[Line],
    scales: &[Scale],
    blocks: &[Block],
    stride: usize,
    place: usize,
    target: &mut [[f32; PANEL]],
) {
    let count = if FOUR { QUADS / 2 } else { QUADS };
    let mut sums = [_mm256_setzero_ps(); ROWS];
    for row in 0..ROWS {
        // SAFETY: half a row is 8 numbers, here and below.
        sums[row] = unsafe { _mm256_loadu_ps(target[row][place..][..HALF].as_ptr()) };
    }
    for tile in 0..scales.len() {
        let lines = &lines[tile * count..][..count];
        let blocks = &blocks[tile * stride..][..ROWS];
        let mut totals = [_mm256_setzero_si256(); ROWS];
        for index in 0..count {
            ahead(&lines[index]);
            let words = &lines[index].0[place..][..HALF];
            // SAFETY: these are 32 bytes.
            let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
            if FOUR {
                let low = _mm256_set1_epi16(0x0f);
                let first = [
                    _mm256_and_si256(words, low),
                    _mm256_and_si256(_mm256_srli_epi16::<8>(words), low),
                ];
                multiply(&mut totals, first, blocks, 2 * index);
                let second = [
                    _mm256_and_si256(_mm256_srli_epi16::<4>(words), low),
                    _mm256_srli_epi16::<12>(words),
                ];
                multiply(&mut totals, second, blocks, 2 * index + 1);
            } else {
                let quad = [
                    _mm256_and_si256(words, _mm256_set1_epi16(0xff)),
                    _mm256_srli_epi16::<8>(words),
                ];
                multiply(&mut totals, quad, blocks, index);
            }
        }
        let step = widened(&scales[tile].step[place..]);
        let offset = widened(&scales[tile].offset[place..]);
        for row in 0..ROWS {
            let block = &blocks[row];
            let total = _mm256_mul_ps(_mm256_cvtepi32_ps(totals[row]), _mm256_set1_ps(block.scale));
            let sum = _mm256_fmadd_ps(_mm256_set1_ps(block.sum), offset, sums[row]);
            sums[row] = _mm256_fmadd_ps(total, step, sum);
        }
    }
    for row in 0..ROWS {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(target[row][place..][..HALF].as_mut_ptr(), sums[row]) };
    }
}

/// Adds the products with the levels of a quad, of its even and of its odd places.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply<const ROWS: usize>(
    totals: &mut [__m256i; ROWS],
    levels: [__m256i; 2],
    blocks: &[Block],
    quad: usize,
) {
    for row in 0..ROWS {
        let [even, odd] = [blocks[row].words[0][quad], blocks[row].words[1][quad]];
        let even = _mm256_madd_epi16(levels[0], _mm256_set1_epi32(even as i32));
        let odd = _mm256_madd_epi16(levels[1], _mm256_set1_epi32(odd as i32));
        totals[row] = _mm256_add_epi32(_mm256_add_epi32(totals[row], even), odd);
    }
}

/// The first numbers of a slice, in half precision, as single precision.
#[inline]
#[target_feature(enable = "avx,f16c")]
fn widened(values: &[f16]) -> __m256 {
    // SAFETY: these are 16 bytes.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values[..HALF].as_ptr().cast()) })
}
