//! Prepacked weights: packed once, to be the right operand of many products.

use std::ops::Range;

use burn::tensor::TensorData;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::block::BLOCK;
use super::late::LateTiles;
use super::levels::{Bits, Levels, OutOfRange};
use super::lines::{self, lines_mut};
use super::pack::{DEPTH, Digits, Form, PANEL, Tile, pack};
use super::pages::Pages;
use super::parts;
use super::source::Source;
use super::turn::turn;
use crate::flex::linear::Matrix;

/// A weight `[outputs, inputs]` in tiles of 16 outputs by 32 inputs: part by part of the inputs, in each panel by panel of
/// the outputs, in each along the inputs. That is the order in which products with its transpose read it.
pub(crate) struct Weight {
    shape: [usize; 2],
    tiles: Tiles,
}

#[cfg(any(feature = "gpu", test))]
/// The levels of a weight, row by row, in blocks of 32 numbers: a number is `offset + level * step` of its block.
pub(crate) struct LevelRows {
    pub(crate) bits: Bits,
    /// Of a row.
    pub(crate) blocks: usize,
    /// `[outputs, blocks, 32]`; those behind the last input are zero.
    pub(crate) levels: Vec<u8>,
    /// `[outputs, blocks]`.
    pub(crate) steps: Vec<f32>,
    /// As `steps`.
    pub(crate) offsets: Vec<f32>,
}

pub(super) enum Tiles {
    Bf16(LateTiles),
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
            None => {
                let tiles = bf16_tiles([outputs, inputs], |rows, part, values, tiles| {
                    block(&rows, &part, values);
                    let matrix = Matrix::new(values, part.len());
                    pack(matrix, 0, 0..part.len(), Form::Pairs, Digits::One, tiles);
                });
                Tiles::Bf16(LateTiles::ready([outputs, inputs], tiles))
            }
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

    /// Of rows in bfloat16, without a change to their numbers: `numbers` must be of that type and shape.
    pub(crate) fn stored(shape: [usize; 2], numbers: TensorData) -> Self {
        Self {
            shape,
            tiles: Tiles::Bf16(LateTiles::of_rows(shape, numbers)),
        }
    }

    /// Counts a product with it.
    pub(super) fn count_product(&self) {
        if let Tiles::Bf16(tiles) = &self.tiles {
            tiles.count_product();
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
            Tiles::Bf16(_) => count(self.shape) * size_of::<Tile>(),
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
                tiles.all().map(|tiles| &tiles[start..start + length])
            }
            Tiles::Levels(_) => None,
        }
    }

    /// Fills `tiles` with those of a part of the inputs, for the outputs from `first` on.
    pub(super) fn unpack_tiles(&self, part: &Range<usize>, first: usize, digits: Digits, tiles: &mut [Tile]) {
        let (source, start) = (self.source(), self.place(part, first));
        if digits != Digits::Rounded {
            return source.fill(start, tiles);
        }
        let lines = lines_mut(tiles).as_chunks_mut().0.iter_mut();
        lines
            .enumerate()
            .for_each(|(index, lines)| source.lines(start + index, lines));
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
        let source = self.source();
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
                    source.lines(place, lines);
                }
                let target = |half| &mut lines_mut(half)[step * DEPTH..][..DEPTH];
                return lines::turn(widened.each_ref(), [target(lower), target(upper)]);
            }
            let [first, second] = &mut unpacked;
            let tiles = [source.tile(places[0], first), source.tile(places[1], second)];
            turn(tiles, [&mut lower[step], &mut upper[step]]);
        };
        // Neighbours in memory one after the other.
        (0..steps).for_each(|step| (0..blocks).for_each(|block| turn_block(step, block)));
    }

    /// The numbers of some outputs, from a multiple of [`PANEL`] on, and some inputs, from a multiple of [`DEPTH`] on, in
    /// single precision: all outputs of the first input, then those of the next.
    pub(crate) fn columns(&self, outputs: Range<usize>, inputs: Range<usize>) -> Vec<f32> {
        let source = self.source();
        let mut values = vec![0.0; outputs.len() * inputs.len()];
        for part in parts(self.inputs()) {
            let steps = (part.start.max(inputs.start)..part.end.min(inputs.end)).step_by(DEPTH);
            for panel in outputs.clone().step_by(PANEL) {
                for step in steps.clone() {
                    let numbers = source.numbers(self.place(&part, panel) + (step - part.start) / DEPTH);
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
        let source = self.source();
        if let Source::Rows(rows) = &source {
            return rows.row(output).convert_to_f32_slice(target);
        }
        for part in parts(self.inputs()) {
            let tiles = self.panel(&part, output / PANEL * PANEL);
            for (tile, target) in tiles.zip(target[part].chunks_mut(DEPTH)) {
                for (number, column) in target.iter_mut().zip(source.numbers(tile)) {
                    *number = column[output % PANEL];
                }
            }
        }
    }

    #[cfg(any(feature = "gpu", test))]
    /// Its levels as rows, if it has such.
    pub(crate) fn level_rows(&self) -> Option<LevelRows> {
        let Tiles::Levels(levels) = &self.tiles else {
            return None;
        };
        let [outputs, inputs] = self.shape;
        let blocks = inputs.div_ceil(DEPTH);
        let mut rows = LevelRows {
            bits: levels.bits(),
            blocks,
            levels: vec![0; outputs * blocks * DEPTH],
            steps: vec![0.0; outputs * blocks],
            offsets: vec![0.0; outputs * blocks],
        };
        for part in parts(inputs) {
            for panel in (0..outputs).step_by(PANEL) {
                for (step, tile) in self.panel(&part, panel).enumerate() {
                    let (numbers, [steps, offsets]) = levels.rows(tile);
                    for row in 0..PANEL.min(outputs - panel) {
                        let place = (panel + row) * blocks + part.start / DEPTH + step;
                        rows.levels[place * DEPTH..(place + 1) * DEPTH].copy_from_slice(&numbers[row]);
                        (rows.steps[place], rows.offsets[place]) = (steps[row], offsets[row]);
                    }
                }
            }
        }
        Some(rows)
    }

    fn source(&self) -> Source<'_> {
        match &self.tiles {
            Tiles::Bf16(tiles) => tiles.source(),
            Tiles::Levels(levels) => Source::Levels(levels),
        }
    }

    /// Index of the first tile of a part of the inputs and of the panel that begins at an output.
    fn place(&self, part: &Range<usize>, output: usize) -> usize {
        part.start / DEPTH * panels(self.outputs()) + output / PANEL * part.len().div_ceil(DEPTH)
    }
}

/// Panels of so many outputs.
pub(super) fn panels(outputs: usize) -> usize {
    outputs.next_multiple_of(BLOCK) / PANEL
}

/// Tiles of a weight.
fn count([outputs, inputs]: [usize; 2]) -> usize {
    panels(outputs) * inputs.div_ceil(DEPTH)
}

/// Tiles of a part of the inputs, and how many of them belong to a block of outputs.
fn places(outputs: usize, part: &Range<usize>) -> (Range<usize>, usize) {
    let panels = panels(outputs);
    let start = part.start / DEPTH * panels;
    let pair = 2 * part.len().div_ceil(DEPTH);
    (start..start + panels / 2 * pair, pair)
}

/// Outputs of a block.
fn block_rows(index: usize, outputs: usize) -> Range<usize> {
    index * BLOCK..((index + 1) * BLOCK).min(outputs)
}

/// Tiles that `fill` writes, a block of outputs and a part of the inputs at a time, with numbers at hand that it may use.
pub(super) fn bf16_tiles(
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
