//! Rows as whole numbers of 16 bits, to be multiplied with levels: sums over 32 neighbours are then exact, on every
//! processor.

use super::few::GROUP;
use super::levels::{Bits, Line, QUADS, Scale, split};
use super::pack::{DEPTH, PANEL};
#[cfg(target_arch = "x86_64")]
use super::quads;
#[cfg(target_arch = "x86_64")]
use super::unit::{Unit, unit};
use crate::flex::simd::{multiply_add, vectorised};

/// Largest number whose bytes are both between -128 and 127.
pub(super) const LARGEST: f32 = 32639.0;

/// A size by which can be divided, smaller than what matters.
pub(super) const LEAST: f32 = 1e-30;

/// Added to a number, it leaves the nearest whole one in the lowest bits.
pub(super) const ROUND: f32 = (3 << 22) as f32;

/// 32 neighbours of a row: `scale * (256 * high + low)`, both bytes with a sign, four to a word and the first in the lowest
/// place. The largest number decides the scale, so that the error of each is at most 2^-16 of it.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Block {
    pub(super) high: [u32; QUADS],
    pub(super) low: [u32; QUADS],
    pub(super) scale: f32,
    /// Of the numbers that the block stands for.
    pub(super) sum: f32,
}

/// Several rows: their first blocks, then their second ones, and so on.
pub(super) struct Fixed {
    rows: usize,
    blocks: Vec<Block>,
}

impl Fixed {
    pub(super) fn new<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]> + Clone) -> Self {
        let count = rows.len();
        let width = rows.clone().map(<[f32]>::len).max().unwrap_or(0);
        let mut blocks = Vec::with_capacity(count * width.div_ceil(DEPTH));
        for first in (0..width).step_by(DEPTH) {
            for row in rows.clone() {
                blocks.push(match row[first..].first_chunk() {
                    Some(numbers) => fix(numbers),
                    None => {
                        let mut numbers = [0.0; DEPTH];
                        numbers[..row.len() - first].copy_from_slice(&row[first..]);
                        fix(&numbers)
                    }
                });
            }
        }
        Self { rows: count, blocks }
    }

    /// Adds the products of all rows, from block `first` on, with the tiles of a panel.
    pub(super) fn add(
        &self,
        bits: Bits,
        (lines, scales): (&[Line], &[Scale]),
        first: usize,
        sums: &mut [[f32; PANEL]],
    ) {
        let blocks = &self.blocks[first * self.rows..][..scales.len() * self.rows];
        for (group, sums) in sums.chunks_mut(GROUP).enumerate() {
            let blocks = &blocks[group * GROUP..];
            #[cfg(target_arch = "x86_64")]
            if unit() != Unit::Single {
                // SAFETY: the units other than `Single` are found only where there is AVX-512 with its byte products.
                unsafe { quads::add(bits, lines, scales, blocks, self.rows, sums) };
                continue;
            }
            add(bits, lines, scales, blocks, self.rows, sums);
        }
    }
}

fn fix(numbers: &[f32; DEPTH]) -> Block {
    #[cfg(target_arch = "x86_64")]
    if unit() != Unit::Single {
        // SAFETY: the units other than `Single` are found only where there is AVX-512.
        return unsafe { quads::fix(numbers) };
    }
    fix_each(numbers)
}

/// Bytes, four to a word.
#[inline(always)]
fn words(bytes: &[u8; DEPTH]) -> [u32; QUADS] {
    let mut words = [0; QUADS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

vectorised! {
    /// The block that stands for these numbers.
    fn fix_each(numbers: &[f32; DEPTH]) -> Block {
            // By their bits, so that an infinity is larger than all numbers, and what is none still larger; from a number on
            // by which can be divided.
            let mut sizes = [0; DEPTH];
            for place in 0..DEPTH {
                sizes[place] = numbers[place].to_bits() & i32::MAX as u32;
            }
            for half in [16, 8, 4, 2, 1] {
                for place in 0..half {
                    let (a, b) = (sizes[place], sizes[place + half]);
                    sizes[place] = if b > a { b } else { a };
                }
            }
            let least = LEAST.to_bits();
            let largest = f32::from_bits(if sizes[0] > least { sizes[0] } else { least });
            let (scale, inverse) = (largest / LARGEST, LARGEST / largest);
            let (mut high, mut low) = ([0; DEPTH], [0; DEPTH]);
            let mut sum = 0;
            for place in 0..DEPTH {
                // To the nearest whole number, by the place of its last bit.
                let bits = (numbers[place] * inverse + ROUND).to_bits();
                let number = bits.wrapping_sub(ROUND.to_bits()) as i32;
                sum += number;
                high[place] = ((number + 128) >> 8) as u8;
                low[place] = number as u8;
            }
            Block {
                high: words(&high),
                low: words(&low),
                scale,
                sum: scale * sum as f32,
            }
    }

    /// Adds the products of up to [`GROUP`] rows of blocks, which are `stride` apart, with the tiles of a panel.
    fn add(bits: Bits, lines: &[Line], scales: &[Scale], blocks: &[Block], stride: usize, sums: &mut [[f32; PANEL]]) {
        let tiles = lines.chunks(bits.lines()).zip(scales).zip(blocks.chunks(stride));
        for ((lines, scale), blocks) in tiles {
            let [step, offset] = scale.widened();
            let mut quads = [[0; PANEL]; QUADS];
            split(bits, lines, &mut quads);
            for (sums, block) in sums.iter_mut().zip(blocks) {
                let mut total = [0i32; PANEL];
                for (quad, words) in quads.iter().enumerate() {
                    for byte in 0..4 {
                        let place = |word: u32| (word >> (8 * byte)) as i8;
                        let number = 256 * i32::from(place(block.high[quad])) + i32::from(place(block.low[quad]));
                        for (total, word) in total.iter_mut().zip(words) {
                            *total += (word >> (8 * byte) & 255) as i32 * number;
                        }
                    }
                }
                for row in 0..PANEL {
                    let sum = multiply_add::<FUSED>(block.sum, offset[row], sums[row]);
                    sums[row] = multiply_add::<FUSED>(block.scale * total[row] as f32, step[row], sum);
                }
            }
        }
    }
}
