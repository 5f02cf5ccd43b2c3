//! How ggml stores numbers: plain, in blocks of 32 that share a scale, or in blocks of 256 whose parts have scales of a few
//! bits.

use half::{bf16, f16};
use rayon::prelude::*;

use super::k_quants;

/// Values in a block of each quantised type.
const BLOCK: usize = 32;

/// Blocks that one thread takes at a time.
const BLOCKS_PER_TASK: usize = 1024;

/// Storage of one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    F32,
    F16,
    Bf16,
    /// 4 bits, `scale * (q - 8)`.
    Q4_0,
    /// 4 bits, `scale * q + minimum`.
    Q4_1,
    /// 5 bits, `scale * (q - 16)`.
    Q5_0,
    /// 5 bits, `scale * q + minimum`.
    Q5_1,
    /// 8 bits, `scale * q`.
    Q8_0,
    /// 2 to 6 bits in blocks of 256.
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

impl Storage {
    pub(super) fn from_code(code: u32) -> Result<Self, String> {
        match code {
            0 => Ok(Self::F32),
            1 => Ok(Self::F16),
            2 => Ok(Self::Q4_0),
            3 => Ok(Self::Q4_1),
            6 => Ok(Self::Q5_0),
            7 => Ok(Self::Q5_1),
            8 => Ok(Self::Q8_0),
            10 => Ok(Self::Q2K),
            11 => Ok(Self::Q3K),
            12 => Ok(Self::Q4K),
            13 => Ok(Self::Q5K),
            14 => Ok(Self::Q6K),
            30 => Ok(Self::Bf16),
            _ => Err(format!(
                "its values are stored as ggml type {code}; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 \
                 and Q2_K to Q6_K are supported: convert the file to one of them"
            )),
        }
    }

    /// Values and bytes of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (BLOCK, 2 + BLOCK / 2),
            Self::Q4_1 => (BLOCK, 4 + BLOCK / 2),
            Self::Q5_0 => (BLOCK, 2 + BLOCK / 8 + BLOCK / 2),
            Self::Q5_1 => (BLOCK, 4 + BLOCK / 8 + BLOCK / 2),
            Self::Q8_0 => (BLOCK, 2 + BLOCK),
            Self::Q2K => k_quants::TWO,
            Self::Q3K => k_quants::THREE,
            Self::Q4K => k_quants::FOUR,
            Self::Q5K => k_quants::FIVE,
            Self::Q6K => k_quants::SIX,
        }
    }

    /// Bytes of a tensor whose dimensions are given innermost first.
    pub(super) fn size(self, dimensions: &[usize]) -> Result<usize, String> {
        let (values, bytes) = self.block();
        if !dimensions[0].is_multiple_of(values) {
            return Err(format!(
                "its rows of {} values do not divide into blocks of {values}",
                dimensions[0]
            ));
        }
        dimensions
            .iter()
            .try_fold(1usize, |product, dimension| product.checked_mul(*dimension))
            .and_then(|count| (count / values).checked_mul(bytes))
            .ok_or_else(|| format!("its dimensions {dimensions:?} are too large for any file"))
    }

    /// All values of whole blocks, in the order of the file.
    pub(super) fn dequantize(self, bytes: &[u8]) -> Vec<f32> {
        let (block_values, block_bytes) = self.block();
        let mut values = vec![0.0; bytes.len() / block_bytes * block_values];
        values
            .par_chunks_mut(block_values * BLOCKS_PER_TASK)
            .zip(bytes.par_chunks(block_bytes * BLOCKS_PER_TASK))
            .for_each(|(values, bytes)| {
                let blocks = values
                    .chunks_exact_mut(block_values)
                    .zip(bytes.chunks_exact(block_bytes));
                blocks.for_each(|(values, bytes)| self.dequantize_block(bytes, values));
            });
        values
    }

    fn dequantize_block(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F32 => values[0] = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            Self::F16 => values[0] = half_at(bytes, 0),
            Self::Bf16 => values[0] = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            Self::Q8_0 => {
                let scale = half_at(bytes, 0);
                for (value, quant) in values.iter_mut().zip(&bytes[2..]) {
                    *value = scale * f32::from(*quant as i8);
                }
            }
            Self::Q4_0 => {
                let scale = half_at(bytes, 0);
                nibbles(&bytes[2..], [0; 4], values, |quant| scale * (quant - 8.0));
            }
            Self::Q4_1 => {
                let (scale, minimum) = (half_at(bytes, 0), half_at(bytes, 2));
                nibbles(&bytes[4..], [0; 4], values, |quant| scale * quant + minimum);
            }
            Self::Q5_0 => {
                let scale = half_at(bytes, 0);
                let (fifth, rest) = split(&bytes[2..]);
                nibbles(rest, fifth, values, |quant| scale * (quant - 16.0));
            }
            Self::Q5_1 => {
                let (scale, minimum) = (half_at(bytes, 0), half_at(bytes, 2));
                let (fifth, rest) = split(&bytes[4..]);
                nibbles(rest, fifth, values, |quant| scale * quant + minimum);
            }
            Self::Q2K => k_quants::two_bits(bytes, values),
            Self::Q3K => k_quants::three_bits(bytes, values),
            Self::Q4K => k_quants::four_bits(bytes, values),
            Self::Q5K => k_quants::five_bits(bytes, values),
            Self::Q6K => k_quants::six_bits(bytes, values),
        }
    }
}

/// The number in half precision whose two bytes begin `at`.
pub(super) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The fifth bits of a block, one a value, and the nibbles behind them.
fn split(bytes: &[u8]) -> ([u8; 4], &[u8]) {
    ([bytes[0], bytes[1], bytes[2], bytes[3]], &bytes[4..])
}

/// The low halves of the bytes are the first half of the block, the high halves the second; `fifth` holds a further bit of
/// each value.
fn nibbles(bytes: &[u8], fifth: [u8; 4], values: &mut [f32], decode: impl Fn(f32) -> f32) {
    let fifth = u32::from_le_bytes(fifth);
    let further = |place: usize| ((fifth >> place & 1) << 4) as u8;
    let (low, high) = values.split_at_mut(bytes.len());
    for (place, ((low, high), byte)) in low.iter_mut().zip(high).zip(bytes).enumerate() {
        *low = decode(f32::from(byte & 15 | further(place)));
        *high = decode(f32::from(byte >> 4 | further(place + bytes.len())));
    }
}
