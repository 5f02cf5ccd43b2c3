//! Block-wise int8 and int4 quantization of weights: tiles whose numbers are kept as whole levels between the least and the
//! largest of 32 neighbours.

use std::ops::Range;

use half::f16;
use rayon::prelude::*;

use super::lines;
use super::pack::{DEPTH, PANEL, Tile, narrow};
use super::pages::{Pages, Plain};
use super::quantise::quantise;
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

    /// Lines of the levels of a tile.
    pub(super) fn lines(self) -> usize {
        match self {
            Self::Four => QUADS / 2,
            Self::Eight => QUADS,
        }
    }
}

/// A row of a weight has a number that half precision does not reach, so that no level can stand for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OutOfRange {
    pub(crate) row: usize,
    pub(crate) value: f32,
}

/// Groups of four numbers along a row of a tile: what the integer unit multiplies in one step.
pub(super) const QUADS: usize = DEPTH / 4;

/// Levels of the 16 rows of a tile, a word for each: with eight bits a quad, its first in the lowest byte, with four bits two
/// quads that follow each other, the first in the lower halves of the bytes.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; PANEL]);

// SAFETY: whole numbers.
unsafe impl Plain for Line {}

/// The quads of a tile, each with the levels of its 16 rows.
#[inline(always)]
pub(super) fn split(bits: Bits, lines: &[Line], quads: &mut [[u32; PANEL]; QUADS]) {
    match bits {
        Bits::Four => {
            for (line, quads) in lines.iter().zip(quads.as_chunks_mut::<2>().0) {
                for (row, word) in line.0.iter().enumerate() {
                    quads[0][row] = word & 0x0f0f_0f0f;
                    quads[1][row] = word >> 4 & 0x0f0f_0f0f;
                }
            }
        }
        Bits::Eight => {
            for (line, quad) in lines.iter().zip(quads) {
                *quad = line.0;
            }
        }
    }
}

/// For each of the 16 rows of a tile: a number is `offset + level * step`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Scale {
    pub(super) step: [f16; PANEL],
    pub(super) offset: [f16; PANEL],
}

// SAFETY: every pattern of 16 bits is a number in half precision.
unsafe impl Plain for Scale {}

impl Scale {
    /// Steps and offsets in single precision.
    #[inline(always)]
    pub(super) fn widened(&self) -> [[f32; PANEL]; 2] {
        let mut widened = [[0.0; PANEL]; 2];
        for row in 0..PANEL {
            widened[0][row] = single(self.step[row]);
            widened[1][row] = single(self.offset[row]);
        }
        widened
    }
}

/// A number in half precision that is neither infinite nor NaN: its bits moved to their place, times what their exponent lacks.
#[inline(always)]
fn single(half: f16) -> f32 {
    const EXPONENT: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(half.to_bits());
    let size = f32::from_bits((bits & 0x7fff) << 13) * EXPONENT;
    f32::from_bits(size.to_bits() | (bits & 0x8000) << 16)
}

/// Tiles as levels.
pub(super) struct Levels {
    bits: Bits,
    lines: Pages<Line>,
    scales: Pages<Scale>,
}

impl Levels {
    /// `count` tiles of zeros.
    pub(super) fn new(bits: Bits, count: usize) -> Self {
        Self {
            bits,
            lines: Pages::zeros(count * bits.lines()),
            scales: Pages::zeros(count),
        }
    }

    pub(super) fn bits(&self) -> Bits {
        self.bits
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[Line]>(&self.lines) + size_of_val::<[Scale]>(&self.scales)
    }

    /// Lines and scales of some tiles.
    pub(super) fn tiles(&self, tiles: Range<usize>) -> (&[Line], &[Scale]) {
        let lines = self.bits.lines();
        (
            &self.lines[tiles.start * lines..tiles.end * lines],
            &self.scales[tiles],
        )
    }

    /// Fills a range of tiles, `pair` at a time: two panels. `read` gives rows of numbers for each such pair by its index,
    /// and says which row of the weight is the first and how long they are.
    pub(super) fn fill(
        &mut self,
        tiles: Range<usize>,
        pair: usize,
        read: impl Fn(usize, &mut Vec<f32>) -> (usize, usize) + Sync,
    ) -> Result<(), OutOfRange> {
        let (bits, count) = (self.bits, self.bits.lines());
        let lines = self.lines[tiles.start * count..tiles.end * count].par_chunks_mut(pair * count);
        let scales = self.scales[tiles].par_chunks_mut(pair);
        let pairs = lines.zip(scales).enumerate();
        pairs.try_for_each_init(Vec::new, |values, (index, (lines, scales))| {
            let (first, width) = read(index, values);
            for (row, values) in values.chunks_exact(width).enumerate() {
                for (step, values) in values.chunks(DEPTH).enumerate() {
                    let tile = row / PANEL * (pair / 2) + step;
                    let scale = &mut scales[tile];
                    let lines = &mut lines[tile * count..][..count];
                    fill_row(values, row % PANEL, bits, lines, scale).map_err(|value| OutOfRange {
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
        #[cfg(target_arch = "x86_64")]
        if unit() != Unit::Single {
            let (lines, scales) = self.tiles(index..index + 1);
            // SAFETY: the units other than `Single` are found only where there are AVX-512 and its bfloat16.
            return unsafe { wide::unpack(self.bits, lines, &scales[0], tile) };
        }
        let numbers = self.numbers(index);
        let pairs = tile.0.as_chunks_mut::<PANEL>().0.iter_mut();
        for (pair, [first, second]) in pairs.zip(numbers.as_chunks::<2>().0) {
            for (row, target) in pair.iter_mut().enumerate() {
                *target = u32::from(narrow(first[row])) | u32::from(narrow(second[row])) << 16;
            }
        }
    }

    /// The numbers of a tile in the precision of bfloat16.
    pub(super) fn lines(&self, index: usize, target: &mut [lines::Line; DEPTH]) {
        let (levels, scales) = self.tiles(index..index + 1);
        lines::unpack(self.bits, levels, &scales[0], target);
    }

    #[cfg(any(feature = "gpu", test))]
    /// The levels of a tile row by row, and the step and the offset of each row.
    pub(super) fn rows(&self, index: usize) -> ([[u8; DEPTH]; PANEL], [[f32; PANEL]; 2]) {
        let (lines, scales) = self.tiles(index..index + 1);
        let mut quads = [[0; PANEL]; QUADS];
        split(self.bits, lines, &mut quads);
        let mut rows = [[0; DEPTH]; PANEL];
        for (quad, words) in quads.iter().enumerate() {
            for (row, word) in rows.iter_mut().zip(words) {
                row[4 * quad..4 * quad + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        (rows, scales[0].widened())
    }

    /// The numbers of a tile, not rounded to bfloat16: those of its first column, then those of the next.
    pub(super) fn numbers(&self, index: usize) -> [[f32; PANEL]; DEPTH] {
        let (lines, scales) = self.tiles(index..index + 1);
        let [step, offset] = scales[0].widened();
        let mut quads = [[0; PANEL]; QUADS];
        split(self.bits, lines, &mut quads);
        let mut numbers = [[0.0; PANEL]; DEPTH];
        for (column, numbers) in numbers.iter_mut().enumerate() {
            let (words, shift) = (&quads[column / 4], column % 4 * 8);
            for (row, number) in numbers.iter_mut().enumerate() {
                *number = (words[row] >> shift & 255) as f32 * step[row] + offset[row];
            }
        }
        numbers
    }
}

/// Writes the levels of up to 32 numbers, a row of a tile. The error is a number out of range.
fn fill_row(
    values: &[f32],
    row: usize,
    bits: Bits,
    lines: &mut [Line],
    scale: &mut Scale,
) -> Result<(), f32> {
    // A number that stands in the row already changes no bound.
    let mut numbers = [values[0]; DEPTH];
    numbers[..values.len()].copy_from_slice(values);
    let mut levels = [0; DEPTH];
    let Some([step, offset]) = quantise(&numbers, bits.highest(), &mut levels) else {
        let outside = |value: &f32| value.is_nan() || value.abs() > f32::from(f16::MAX);
        return Err(values.iter().copied().find(outside).unwrap_or(f32::NAN));
    };
    levels[values.len()..].fill(0);
    (scale.step[row], scale.offset[row]) = (step, offset);
    let quads = levels.as_chunks::<4>().0;
    match bits {
        Bits::Four => {
            for (line, [first, second]) in lines.iter_mut().zip(quads.as_chunks::<2>().0) {
                line.0[row] = u32::from_le_bytes(*first) | u32::from_le_bytes(*second) << 4;
            }
        }
        Bits::Eight => {
            for (line, quad) in lines.iter_mut().zip(quads) {
                line.0[row] = u32::from_le_bytes(*quad);
            }
        }
    }
    Ok(())
}
