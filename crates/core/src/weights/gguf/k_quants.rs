//! ggml's "k" formats: blocks of 256 numbers whose parts of 16 or 32 have scales of 4 to 8 bits, which share one or two of 16.
//!
//! The layouts are those of the block structures of ggml (`block_q2_K` to `block_q6_K`).

use super::quantization::half_at;

const BLOCK: usize = 256;

/// Values and bytes of a block of each format.
pub(super) const TWO: (usize, usize) = (BLOCK, 16 + BLOCK / 4 + 4);
pub(super) const THREE: (usize, usize) = (BLOCK, BLOCK / 8 + BLOCK / 4 + 12 + 2);
pub(super) const FOUR: (usize, usize) = (BLOCK, 4 + 12 + BLOCK / 2);
pub(super) const FIVE: (usize, usize) = (BLOCK, 4 + 12 + BLOCK / 8 + BLOCK / 2);
pub(super) const SIX: (usize, usize) = (BLOCK, BLOCK / 2 + BLOCK / 4 + 16 + 2);

/// `Q2_K`: parts of 16, each with a scale and a minimum of 4 bits; four parts' pairs of bits lie in a byte.
pub(super) fn two_bits(bytes: &[u8], values: &mut [f32]) {
    let (scales, rest) = bytes.split_at(16);
    let (quants, shared) = rest.split_at(BLOCK / 4);
    let (scale, minimum) = (half_at(shared, 0), half_at(shared, 2));
    for (part, values) in values.chunks_exact_mut(16).enumerate() {
        let own = scales[part];
        let (scale, minimum) = (scale * f32::from(own & 15), minimum * f32::from(own >> 4));
        for (value, quant) in values.iter_mut().zip(pairs_of_bits(quants, part)) {
            *value = scale * f32::from(quant) - minimum;
        }
    }
}

/// `Q3_K`: parts of 16, each with a signed scale of 6 bits; a third bit, which lies apart, takes 4 away where it is not set.
pub(super) fn three_bits(bytes: &[u8], values: &mut [f32]) {
    let (third, rest) = bytes.split_at(BLOCK / 8);
    let (quants, rest) = rest.split_at(BLOCK / 4);
    let (scales, shared) = rest.split_at(12);
    let scale = half_at(shared, 0);
    for (part, values) in values.chunks_exact_mut(16).enumerate() {
        // Four bits of each scale fill the first eight bytes, the two others the last four.
        let low = scales[part % 8] >> (4 * (part / 8)) & 15;
        let high = scales[8 + part % 4] >> (2 * (part / 4)) & 3;
        let scale = scale * (f32::from(low | high << 4) - 32.0);
        let third = third[part % 2 * 16..].iter().map(|byte| byte >> (part / 2) & 1);
        for ((value, quant), third) in values.iter_mut().zip(pairs_of_bits(quants, part)).zip(third) {
            *value = scale * (f32::from(quant) - 4.0 * f32::from(1 - third));
        }
    }
}

/// The 16 pairs of bits of a part: 32 bytes hold those of 128 values, the lowest bits the first 32 of them.
fn pairs_of_bits(quants: &[u8], part: usize) -> impl Iterator<Item = u8> {
    let (first, shift) = (part / 8 * 32 + part % 2 * 16, part % 8 / 2 * 2);
    quants[first..first + 16]
        .iter()
        .map(move |byte| byte >> shift & 3)
}

/// `Q4_K`: parts of 32, each with a scale and a minimum of 6 bits.
pub(super) fn four_bits(bytes: &[u8], values: &mut [f32]) {
    nibbles(bytes, &bytes[16..], values, |_, _| 0);
}

/// `Q5_K`: as `Q4_K`, with a fifth bit that lies apart: a byte holds those of the eight parts.
pub(super) fn five_bits(bytes: &[u8], values: &mut [f32]) {
    let (fifth, rest) = bytes[16..].split_at(BLOCK / 8);
    nibbles(bytes, rest, values, |part, place| (fifth[place] >> part & 1) << 4);
}

/// Two parts of 32 in the low and the high halves of 32 bytes; `further` gives the bits above.
fn nibbles(bytes: &[u8], quants: &[u8], values: &mut [f32], further: impl Fn(usize, usize) -> u8) {
    let (scale, minimum) = (half_at(bytes, 0), half_at(bytes, 2));
    let scales = &bytes[4..16];
    for (part, values) in values.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_minimum) = scale_and_minimum(scales, part);
        let (scale, minimum) = (scale * f32::from(own_scale), minimum * f32::from(own_minimum));
        let (quants, shift) = (&quants[part / 2 * 32..], part % 2 * 4);
        for (place, (value, quant)) in values.iter_mut().zip(quants).enumerate() {
            let quant = quant >> shift & 15 | further(part, place);
            *value = scale * f32::from(quant) - minimum;
        }
    }
}

/// Eight scales and eight minima of 6 bits in 12 bytes: those of the first four parts as they are, in whose two upper bits lie
/// the upper bits of the others.
fn scale_and_minimum(scales: &[u8], part: usize) -> (u8, u8) {
    match part {
        0..4 => (scales[part] & 63, scales[part + 4] & 63),
        _ => {
            let low = scales[part + 4];
            let upper = |byte: u8| byte >> 6 << 4;
            (low & 15 | upper(scales[part - 4]), low >> 4 | upper(scales[part]))
        }
    }
}

/// `Q6_K`: parts of 16, each with a signed scale of 8 bits; four bits of each value lie in one place, two in another.
pub(super) fn six_bits(bytes: &[u8], values: &mut [f32]) {
    let (low, rest) = bytes.split_at(BLOCK / 2);
    let (high, rest) = rest.split_at(BLOCK / 4);
    let (scales, shared) = rest.split_at(16);
    let scale = half_at(shared, 0);
    for (run, values) in values.chunks_exact_mut(32).enumerate() {
        // Four runs of 32 values: the low halves of 64 bytes, then the high ones, beside the pairs of bits of 32 bytes.
        let (half, run_in_half) = (run / 4, run % 4);
        let low = low[half * 64 + run_in_half % 2 * 32..].iter();
        let low = low.map(|byte| byte >> (run_in_half / 2 * 4) & 15);
        let high = high[half * 32..].iter().map(|byte| byte >> (2 * run_in_half) & 3);
        for (place, (value, (low, high))) in values.iter_mut().zip(low.zip(high)).enumerate() {
            let scale = scale * f32::from(scales[run * 2 + place / 16] as i8);
            *value = scale * (f32::from(low | high << 4) - 32.0);
        }
    }
}
