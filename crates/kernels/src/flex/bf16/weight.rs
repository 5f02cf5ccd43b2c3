//! Weights that are packed once, to be the right operand of many products.

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::block::BLOCK;
use super::levels::{Bits, Levels, OutOfRange};
use super::lines::{self, Line, lines_mut};
use super::pack::{DEPTH, Digits, Form, PANEL, Tile, pack};
use super::pages::Pages;
use super::parts;
use super::stored::Stored;
use super::turn::turn;
use crate::flex::linear::Matrix;

/// A weight `[outputs, inputs]` in tiles of 16 outputs by 32 inputs: part by part of the inputs, in each panel by panel of
/// the outputs, in each along the inputs. That is the order in which products with its transpose read it.
pub(crate) struct Weight {
    shape: [usize; 2],
    tiles: Tiles,
}

pub(super) enum Tiles {
    Bf16(Pages<Tile>),
    Levels(Levels),
}

impl Weight {
    /// Packs what `read` writes: the numbers of a range of rows and a range of columns, row by row.
    ///
    /// # Errors
    /// A number that the levels cannot hold.
    pub(crate) fn new(
        [outputs, inputs]: [usize; 2],
        bits: Option<Bits>,
        read: impl Fn(Range<usize>, Range<usize>, &mut Vec<f32>) + Sync,
    ) -> Result<Self, OutOfRange> {
        let block = |rows: &Range<usize>, part: &Range<usize>, values: &mut Vec<f32>| {
            values.clear();
            read(rows.clone(), part.clone(), values);
        };
        let tiles = match bits {
            None => Tiles::Bf16(bf16_tiles([outputs, inputs], |rows, part, values, tiles| {
                block(&rows, &part, values);
                let matrix = Matrix::new(values, part.len());
                pack(matrix, 0, 0..part.len(), Form::Pairs, Digits::One, tiles);
            })),
            Some(bits) => {
                let mut levels = Levels::new(bits, count([outputs, inputs]));
                for part in parts(inputs) {
                    let (range, pair) = places(outputs, &part);
                    levels.fill(range, pair, |index, values| {
                        let rows = block_rows(index, outputs);
                        block(&rows, &part, values);
                        (rows.start, part.len())
                    })?;
                }
                Tiles::Levels(levels)
            }
        };
        Ok(Self {
            shape: [outputs, inputs],
            tiles,
        })
    }

    /// Packs rows in bfloat16 without a change to their numbers.
    pub(crate) fn stored([outputs, inputs]: [usize; 2], values: &[bf16]) -> Self {
        let stored = Stored {
            values,
            width: inputs,
        };
        let fill = |rows, part, _: &mut _, tiles: &mut _| stored.pack(rows, part, tiles);
        Self {
            shape: [outputs, inputs],
            tiles: Tiles::Bf16(bf16_tiles([outputs, inputs], fill)),
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.shape[0]
    }

    pub(crate) fn inputs(&self) -> usize {
        self.shape[1]
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        match &self.tiles {
            Tiles::Bf16(tiles) => size_of_val::<[Tile]>(tiles),
            Tiles::Levels(levels) => levels.bytes(),
        }
    }

    /// Bits of its levels, if it is not in bfloat16.
    pub(crate) fn bits(&self) -> Option<Bits> {
        match &self.tiles {
            Tiles::Bf16(_) => None,
            Tiles::Levels(levels) => Some(levels.bits()),
        }
    }

    /// All tiles.
    pub(super) fn all(&self) -> &Tiles {
        &self.tiles
    }

    /// Where the tiles of a part of the inputs and of the panel that begins at an output stand among all.
    pub(super) fn panel(&self, part: &Range<usize>, output: usize) -> Range<usize> {
        let start = self.place(part, output);
        start..start + part.len().div_ceil(DEPTH)
    }

    /// The tiles of a part of the inputs and of `count` outputs from `first` on, if they lie ready.
    pub(super) fn tiles(&self, part: &Range<usize>, first: usize, count: usize) -> Option<&[Tile]> {
        match &self.tiles {
            Tiles::Bf16(tiles) => {
                let start = self.place(part, first);
                let length = count.next_multiple_of(BLOCK) / PANEL * part.len().div_ceil(DEPTH);
                Some(&tiles[start..start + length])
            }
            Tiles::Levels(_) => None,
        }
    }

    /// Fills `tiles` with those of a part of the inputs, for the outputs from `first` on.
    pub(super) fn unpack_tiles(&self, part: &Range<usize>, first: usize, digits: Digits, tiles: &mut [Tile]) {
        let start = self.place(part, first);
        if digits == Digits::Rounded {
            let lines = lines_mut(tiles).as_chunks_mut().0.iter_mut();
            return lines
                .enumerate()
                .for_each(|(index, lines)| self.lines(start + index, lines));
        }
        match &self.tiles {
            Tiles::Bf16(own) => tiles.copy_from_slice(&own[start..start + tiles.len()]),
            Tiles::Levels(levels) => {
                for (index, tile) in tiles.iter_mut().enumerate() {
                    levels.unpack(start + index, tile);
                }
            }
        }
    }

    /// Fills `tiles` with those of the weight turned around, for sums along a part of the outputs: panels of inputs, from
    /// `first` on.
    pub(super) fn turn_tiles(
        &self,
        outputs: &Range<usize>,
        first: usize,
        digits: Digits,
        tiles: &mut [Tile],
    ) {
        let steps = outputs.len().div_ceil(DEPTH);
        let panel = digits.panel(outputs.len());
        let blocks = tiles.len() / panel / 2;
        let mut unpacked = [Tile::default(); 2];
        let mut widened = [[[0.0; PANEL]; DEPTH]; 2];
        let mut turn_block = |step: usize, block: usize| {
            let (output, input) = (outputs.start + step * DEPTH, first + block * BLOCK);
            let part = parts(self.inputs()).find(|part| part.contains(&input));
            let part = part.expect("an input of the weight");
            let place = |output| self.place(&part, output) + (input - part.start) / DEPTH;
            let places = [place(output), place(output + PANEL)];
            let (lower, upper) = tiles[2 * block * panel..].split_at_mut(panel);
            if digits == Digits::Rounded {
                for (lines, place) in widened.iter_mut().zip(places) {
                    self.lines(place, lines);
                }
                let target = |half| &mut lines_mut(half)[step * DEPTH..][..DEPTH];
                return lines::turn(widened.each_ref(), [target(lower), target(upper)]);
            }
            let source = match &self.tiles {
                Tiles::Bf16(tiles) => places.map(|place| &tiles[place]),
                Tiles::Levels(levels) => {
                    for (tile, place) in unpacked.iter_mut().zip(places) {
                        levels.unpack(place, tile);
                    }
                    unpacked.each_ref()
                }
            };
            turn(source, [&mut lower[step], &mut upper[step]]);
        };
        // Neighbours in memory one after the other.
        (0..steps).for_each(|step| (0..blocks).for_each(|block| turn_block(step, block)));
    }

    /// The numbers of a tile in the precision of bfloat16.
    fn lines(&self, index: usize, lines: &mut [Line; DEPTH]) {
        match &self.tiles {
            Tiles::Bf16(tiles) => lines::widen(&tiles[index], lines),
            Tiles::Levels(levels) => levels.lines(index, lines),
        }
    }

    /// The numbers of some outputs, from a multiple of [`PANEL`] on, and some inputs, from a multiple of [`DEPTH`] on, in
    /// single precision: all outputs of the first input, then those of the next.
    pub(crate) fn columns(&self, outputs: Range<usize>, inputs: Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0; outputs.len() * inputs.len()];
        for part in parts(self.inputs()) {
            let steps = (part.start.max(inputs.start)..part.end.min(inputs.end)).step_by(DEPTH);
            for panel in outputs.clone().step_by(PANEL) {
                for step in steps.clone() {
                    let numbers = self.numbers(self.place(&part, panel) + (step - part.start) / DEPTH);
                    let rows = &mut values[(step - inputs.start) * outputs.len()..];
                    for (row, numbers) in rows.chunks_mut(outputs.len()).zip(numbers) {
                        let row = &mut row[panel - outputs.start..];
                        let count = row.len().min(PANEL);
                        row[..count].copy_from_slice(&numbers[..count]);
                    }
                }
            }
        }
        values
    }

    /// The numbers of one output in single precision.
    pub(crate) fn row(&self, output: usize, target: &mut [f32]) {
        for part in parts(self.inputs()) {
            let tiles = self.panel(&part, output / PANEL * PANEL);
            for (tile, target) in tiles.zip(target[part].chunks_mut(DEPTH)) {
                for (number, column) in target.iter_mut().zip(self.numbers(tile)) {
                    *number = column[output % PANEL];
                }
            }
        }
    }

    /// The numbers of a tile: those of its first column, then those of the next.
    fn numbers(&self, index: usize) -> [[f32; PANEL]; DEPTH] {
        match &self.tiles {
            Tiles::Bf16(tiles) => {
                let mut numbers = [[0.0; PANEL]; DEPTH];
                let pairs = tiles[index].0.as_chunks::<PANEL>().0;
                for (pair, columns) in pairs.iter().zip(numbers.as_chunks_mut::<2>().0) {
                    *columns = [
                        pair.map(|pair| f32::from_bits(pair << 16)),
                        pair.map(|pair| f32::from_bits(pair & 0xffff_0000)),
                    ];
                }
                numbers
            }
            Tiles::Levels(levels) => levels.numbers(index),
        }
    }

    /// Index of the first tile of a part of the inputs and of the panel that begins at an output.
    fn place(&self, part: &Range<usize>, output: usize) -> usize {
        let panels = self.outputs().next_multiple_of(BLOCK) / PANEL;
        part.start / DEPTH * panels + output / PANEL * part.len().div_ceil(DEPTH)
    }
}

/// Tiles of a weight.
fn count([outputs, inputs]: [usize; 2]) -> usize {
    outputs.next_multiple_of(BLOCK) / PANEL * inputs.div_ceil(DEPTH)
}

/// Tiles of a part of the inputs, and how many of them belong to a block of outputs.
fn places(outputs: usize, part: &Range<usize>) -> (Range<usize>, usize) {
    let panels = outputs.next_multiple_of(BLOCK) / PANEL;
    let start = part.start / DEPTH * panels;
    let pair = 2 * part.len().div_ceil(DEPTH);
    (start..start + panels / 2 * pair, pair)
}

/// Outputs of a block.
fn block_rows(index: usize, outputs: usize) -> Range<usize> {
    index * BLOCK..((index + 1) * BLOCK).min(outputs)
}

/// Tiles that `fill` writes, a block of outputs and a part of the inputs at a time, with numbers at hand that it may use.
fn bf16_tiles(
    [outputs, inputs]: [usize; 2],
    fill: impl Fn(Range<usize>, Range<usize>, &mut Vec<f32>, &mut [Tile]) + Sync,
) -> Pages<Tile> {
    let mut tiles = Pages::zeros(count([outputs, inputs]));
    for part in parts(inputs) {
        let (range, pair) = places(outputs, &part);
        let blocks = tiles[range].par_chunks_mut(pair).enumerate();
        blocks.for_each_init(Vec::new, |values, (index, tiles)| {
            fill(block_rows(index, outputs), part.clone(), values, tiles);
        });
    }
    tiles
}
