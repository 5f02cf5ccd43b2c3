//! Activation quantization to int16: rows as whole numbers of 16 bits, to be multiplied with levels: sums over 32 neighbours
//! are then exact, on every processor.

use super::few::GROUP;
use super::levels::{Bits, Line, QUADS, Scale, split};
use super::pack::{DEPTH, PANEL};
#[cfg(target_arch = "x86_64")]
use super::quads;
#[cfg(target_arch = "x86_64")]
use super::unit::{Unit, unit};
#[cfg(target_arch = "x86_64")]
use super::words;
#[cfg(target_arch = "x86_64")]
use crate::flex::simd;
use crate::flex::simd::{multiply_add, vectorised};

/// Largest number whose bytes are both between -128 and 127.
pub(super) const LARGEST: f32 = 32639.0;

/// A size by which can be divided, smaller than what matters.
pub(super) const LEAST: f32 = 1e-30;

/// Added to a number, it leaves the nearest whole one in the lowest bits.
pub(super) const ROUND: f32 = (3 << 22) as f32;

/// 32 neighbours of a row as whole numbers times `scale`. The largest decides the scale, so that the error of each is at most
/// 2^-16 of it.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Block {
    /// The four numbers of each quad as the unit multiplies them. By bytes: the higher bytes and the lower ones of
    /// `256 * high + low`, both with a sign. By words: the first number and the third, and the second and the fourth.
    pub(super) words: [[u32; QUADS]; 2],
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
            #[cfg(target_arch = "x86_64")]
            if !matches!(simd::unit(), simd::Unit::Baseline) {
                // SAFETY: the wider units are found only where there is AVX2 with what belongs to it.
                unsafe { words::add(bits, lines, scales, blocks, self.rows, sums) };
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
            let mut whole = [0u32; DEPTH];
            // Of what is no number it means nothing, as the scale then is none either.
            let mut sum = 0i32;
            for place in 0..DEPTH {
                // To the nearest whole number, by the place of its last bit.
                let bits = (numbers[place] * inverse + ROUND).to_bits();
                whole[place] = bits.wrapping_sub(ROUND.to_bits());
                sum = sum.wrapping_add(whole[place] as i32);
            }
            let mut words = [[0; QUADS]; 2];
            for quad in 0..QUADS {
                for odd in 0..2 {
                    let (first, second) = (whole[4 * quad + odd], whole[4 * quad + odd + 2]);
                    words[odd][quad] = first & 0xffff | second << 16;
                }
            }
            Block {
                words,
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
                for quad in 0..QUADS {
                    for odd in 0..2 {
                        let pair = block.words[odd][quad];
                        let (first, second) = (i32::from(pair as i16), pair as i32 >> 16);
                        for row in 0..PANEL {
                            let levels = quads[quad][row] >> (8 * odd);
                            total[row] += (levels & 255) as i32 * first + (levels >> 16 & 255) as i32 * second;
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
