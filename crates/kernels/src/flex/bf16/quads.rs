//! Quantized GEMV by AVX-512 VNNI (`vpdpbusd`): products of rows in 16 bits with levels by AVX-512 VNNI, which multiplies four
//! bytes by four and adds all to a sum.

use std::arch::x86_64::{
    __m512, __m512i, _mm256_set_m128i, _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512,
    _mm512_castps_si512, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_max_epu32, _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_reduce_max_epu32,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_srai_epi32, _mm512_srli_epi32, _mm512_storeu_ps, _mm512_sub_epi32,
};
use std::mem::transmute;

use super::few::GROUP;
use super::fixed::{Block, LARGEST, LEAST, ROUND};
use super::levels::{Bits, Line, QUADS, Scale};
use super::pack::{DEPTH, PANEL};
use super::wide::{ahead, widened, words};

/// Adds the products of up to [`GROUP`] rows of blocks, which are `stride` apart, with the tiles of a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn add(
    bits: Bits,
    lines: &[Line],
    scales: &[Scale],
    blocks: &[Block],
    stride: usize,
    sums: &mut [[f32; PANEL]],
) {
    let add = match (bits, sums.len()) {
        (Bits::Four, 1) => rows::<true, 1>,
        (Bits::Four, 2) => rows::<true, 2>,
        (Bits::Four, 3) => rows::<true, 3>,
        (Bits::Four, 4) => rows::<true, 4>,
        (Bits::Four, 5) => rows::<true, 5>,
        (Bits::Four, 6) => rows::<true, 6>,
        (Bits::Four, 7) => rows::<true, 7>,
        (Bits::Four, _) => rows::<true, GROUP>,
        (Bits::Eight, 1) => rows::<false, 1>,
        (Bits::Eight, 2) => rows::<false, 2>,
        (Bits::Eight, 3) => rows::<false, 3>,
        (Bits::Eight, 4) => rows::<false, 4>,
        (Bits::Eight, 5) => rows::<false, 5>,
        (Bits::Eight, 6) => rows::<false, 6>,
        (Bits::Eight, 7) => rows::<false, 7>,
        (Bits::Eight, _) => rows::<false, GROUP>,
    };
    add(lines, scales, blocks, stride, sums);
}

/// The block that stands for these numbers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn fix(numbers: &[f32; DEPTH]) -> Block {
    // SAFETY: the array holds 32 numbers.
    let values = unsafe {
        [
            _mm512_loadu_ps(numbers.as_ptr()),
            _mm512_loadu_ps(numbers[PANEL..].as_ptr()),
        ]
    };
    let size = |value| _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(i32::MAX));
    // By their bits, so that an infinity is larger than all numbers, and what is none still larger.
    let sizes = _mm512_max_epu32(size(values[0]), size(values[1]));
    let largest = f32::from_bits(_mm512_reduce_max_epu32(sizes).max(LEAST.to_bits()));
    let (scale, inverse) = (largest / LARGEST, LARGEST / largest);
    let whole = |value| {
        let rounded = _mm512_add_ps(
            _mm512_mul_ps(value, _mm512_set1_ps(inverse)),
            _mm512_set1_ps(ROUND),
        );
        _mm512_sub_epi32(
            _mm512_castps_si512(rounded),
            _mm512_set1_epi32(ROUND.to_bits() as i32),
        )
    };
    let whole = [whole(values[0]), whole(values[1])];
    let higher = |whole| _mm512_srai_epi32::<8>(_mm512_add_epi32(whole, _mm512_set1_epi32(128)));
    let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(whole[0], whole[1]));
    Block {
        words: [bytes([higher(whole[0]), higher(whole[1])]), bytes(whole)],
        scale,
        sum: scale * sum as f32,
    }
}

/// The lowest byte of each number, four to a word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn bytes(numbers: [__m512i; 2]) -> [u32; QUADS] {
    let [first, second] = [_mm512_cvtepi32_epi8(numbers[0]), _mm512_cvtepi32_epi8(numbers[1])];
    // SAFETY: both types are 32 bytes of whatever content.
    unsafe { transmute(_mm256_set_m128i(second, first)) }
}

/// [`add`] for a number of rows. Vectors are looked up by index: iterators of them would not be inlined here.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn rows<const FOUR: bool, const ROWS: usize>(
    lines: &[Line],
    scales: &[Scale],
    blocks: &[Block],
    stride: usize,
    target: &mut [[f32; PANEL]],
) {
    let count = if FOUR { QUADS / 2 } else { QUADS };
    let mut sums = [_mm512_setzero_ps(); ROWS];
    for row in 0..ROWS {
        sums[row] = load(&target[row]);
    }
    for tile in 0..scales.len() {
        let lines = &lines[tile * count..][..count];
        let blocks = &blocks[tile * stride..][..ROWS];
        let mut totals = [[_mm512_setzero_si512(); 2]; ROWS];
        for (index, line) in lines.iter().enumerate() {
            ahead(line);
            let words = words(line);
            if FOUR {
                let low = _mm512_set1_epi32(0x0f0f_0f0f);
                multiply(&mut totals, _mm512_and_si512(words, low), blocks, 2 * index);
                let second = _mm512_and_si512(_mm512_srli_epi32::<4>(words), low);
                multiply(&mut totals, second, blocks, 2 * index + 1);
            } else {
                multiply(&mut totals, words, blocks, index);
            }
        }
        let (step, offset) = (widened(&scales[tile].step), widened(&scales[tile].offset));
        for row in 0..ROWS {
            let block = &blocks[row];
            let total = _mm512_add_epi32(_mm512_slli_epi32::<8>(totals[row][0]), totals[row][1]);
            let total = _mm512_mul_ps(_mm512_cvtepi32_ps(total), _mm512_set1_ps(block.scale));
            let sum = _mm512_fmadd_ps(_mm512_set1_ps(block.sum), offset, sums[row]);
            sums[row] = _mm512_fmadd_ps(total, step, sum);
        }
    }
    for row in 0..ROWS {
        // SAFETY: the array holds 16 numbers.
        unsafe { _mm512_storeu_ps(target[row].as_mut_ptr(), sums[row]) };
    }
}

/// Adds the products with the levels of a quad, of the higher and of the lower bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn multiply<const ROWS: usize>(
    totals: &mut [[__m512i; 2]; ROWS],
    levels: __m512i,
    blocks: &[Block],
    quad: usize,
) {
    for row in 0..ROWS {
        let [high, low] = &mut totals[row];
        *high = _mm512_dpbusd_epi32(
            *high,
            levels,
            _mm512_set1_epi32(blocks[row].words[0][quad] as i32),
        );
        *low = _mm512_dpbusd_epi32(*low, levels, _mm512_set1_epi32(blocks[row].words[1][quad] as i32));
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32; PANEL]) -> __m512 {
    // SAFETY: the array holds 16 numbers.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}
