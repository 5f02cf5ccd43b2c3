//! Tiles whose numbers are kept as whole levels between the least and the largest of 32 neighbours.

use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::pack::{DEPTH, PANEL, Tile, narrow};
#[cfg(target_arch = "x86_64")]
use super::unit::{Unit, unit};
#[cfg(target_arch = "x86_64")]
use super::wide;

/// Bits of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    Four,
    Eight,
}

impl Bits {
    /// The highest level.
    fn highest(self) -> f32 {
        match self {
            Self::Four => 15.0,
            Self::Eight => 255.0,
        }
    }

    /// Bytes of the levels of a tile.
    fn bytes(self) -> usize {
        match self {
            Self::Four => PANEL * DEPTH / 2,
            Self::Eight => PANEL * DEPTH,
        }
    }
}

/// A row of a weight has a number that half precision does not reach, so that no level can stand for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OutOfRange {
    pub(crate) row: usize,
    pub(crate) value: f32,
}

/// For each of the 16 rows of a tile: a number is `offset + level * step`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Scale {
    pub(super) step: [f16; PANEL],
    pub(super) offset: [f16; PANEL],
}

/// Tiles as levels. A tile has its levels in the order of a [`Tile`] in pairs: with eight bits 16 times the first and then
/// the second of each row's pair, with four bits both in one byte, the first in the lower half.
pub(super) struct Levels {
    bits: Bits,
    codes: Vec<u8>,
    scales: Vec<Scale>,
}

impl Levels {
    /// `count` tiles of zeros.
    pub(super) fn new(bits: Bits, count: usize) -> Self {
        let zero = Scale {
            step: [f16::ZERO; PANEL],
            offset: [f16::ZERO; PANEL],
        };
        Self {
            bits,
            codes: vec![0; count * bits.bytes()],
            scales: vec![zero; count],
        }
    }

    pub(super) fn bits(&self) -> Bits {
        self.bits
    }

    pub(super) fn bytes(&self) -> usize {
        self.codes.len() + size_of_val(self.scales.as_slice())
    }

    /// Fills a range of tiles, `pair` at a time: two panels. `read` gives rows of numbers for each such pair by its index,
    /// and says which row of the weight is the first and how long they are.
    pub(super) fn fill(
        &mut self,
        tiles: Range<usize>,
        pair: usize,
        read: impl Fn(usize, &mut Vec<f32>) -> (usize, usize) + Sync,
    ) -> Result<(), OutOfRange> {
        let (bits, bytes) = (self.bits, self.bits.bytes());
        let codes = self.codes[tiles.start * bytes..tiles.end * bytes].par_chunks_mut(pair * bytes);
        let scales = self.scales[tiles].par_chunks_mut(pair);
        let pairs = codes.zip(scales).enumerate();
        pairs.try_for_each_init(Vec::new, |values, (index, (codes, scales))| {
            let (first, width) = read(index, values);
            for (row, values) in values.chunks_exact(width).enumerate() {
                for (step, values) in values.chunks(DEPTH).enumerate() {
                    let tile = row / PANEL * (pair / 2) + step;
                    let scale = &mut scales[tile];
                    let codes = &mut codes[tile * bytes..][..bytes];
                    quantise(values, row % PANEL, bits, codes, scale).map_err(|value| OutOfRange {
                        row: first + row,
                        value,
                    })?;
                }
            }
            Ok(())
        })
    }

    /// Writes a tile in bfloat16.
    pub(super) fn unpack(&self, index: usize, tile: &mut Tile) {
        let bytes = self.bits.bytes();
        let (codes, scale) = (&self.codes[index * bytes..][..bytes], &self.scales[index]);
        #[cfg(target_arch = "x86_64")]
        if unit() != Unit::Single {
            // SAFETY: the units other than `Single` are found only where there are AVX-512 and its bfloat16.
            return unsafe { wide::unpack(self.bits, codes, scale, tile) };
        }
        let (mut step, mut offset) = ([0.0; PANEL], [0.0; PANEL]);
        scale.step.convert_to_f32_slice(&mut step);
        scale.offset.convert_to_f32_slice(&mut offset);
        for (pair, target) in tile.0.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            for (row, target) in target.iter_mut().enumerate() {
                let (first, second) = match self.bits {
                    Bits::Four => {
                        let both = codes[pair * PANEL + row];
                        (both & 15, both >> 4)
                    }
                    Bits::Eight => {
                        let codes = &codes[2 * pair * PANEL..];
                        (codes[row], codes[PANEL + row])
                    }
                };
                let number = |level: u8| u32::from(narrow(f32::from(level) * step[row] + offset[row]));
                *target = number(first) | number(second) << 16;
            }
        }
    }
}

/// Writes the levels of up to 32 numbers, a row of a tile. The error is a number out of range.
fn quantise(values: &[f32], row: usize, bits: Bits, codes: &mut [u8], scale: &mut Scale) -> Result<(), f32> {
    if let Some(value) = values
        .iter()
        .find(|value| value.is_nan() || value.abs() > f32::from(f16::MAX))
    {
        return Err(*value);
    }
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scale.offset[row] = f16::from_f32(least);
    scale.step[row] = f16::from_f32((largest - least) / bits.highest());
    let (offset, step) = (f32::from(scale.offset[row]), f32::from(scale.step[row]));
    for (index, value) in values.iter().enumerate() {
        let level = if step > 0.0 { (value - offset) / step } else { 0.0 };
        let level = level.round_ties_even().clamp(0.0, bits.highest()) as u8;
        let (pair, second) = (index / 2, index % 2);
        match bits {
            Bits::Four => codes[pair * PANEL + row] |= level << (4 * second),
            Bits::Eight => codes[(2 * pair + second) * PANEL + row] = level,
        }
    }
    Ok(())
}
