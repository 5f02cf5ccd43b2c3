//! Weights that are packed once, to be the right operand of many products.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::block::BLOCK;
use super::levels::{Bits, Levels, OutOfRange};
use super::pack::{DEPTH, Form, PANEL, Tile, pack};
use super::parts;
use crate::flex::linear::Matrix;

/// A weight `[outputs, inputs]` in tiles of 16 outputs by 32 inputs: part by part of the inputs, in each panel by panel of
/// the outputs, in each along the inputs. That is the order in which products with its transpose read it.
pub(crate) struct Weight {
    shape: [usize; 2],
    tiles: Tiles,
}

enum Tiles {
    Bf16(Vec<Tile>),
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
        let panels = outputs.next_multiple_of(BLOCK) / PANEL;
        let count = panels * inputs.div_ceil(DEPTH);
        let mut tiles = match bits {
            None => Tiles::Bf16(vec![Tile::default(); count]),
            Some(bits) => Tiles::Levels(Levels::new(bits, count)),
        };
        for part in parts(inputs) {
            let start = part.start / DEPTH * panels;
            let pair = 2 * part.len().div_ceil(DEPTH);
            let range = start..start + panels / 2 * pair;
            let block = |index: usize, values: &mut Vec<f32>| {
                let rows = index * BLOCK..((index + 1) * BLOCK).min(outputs);
                values.clear();
                read(rows.clone(), part.clone(), values);
                rows
            };
            match &mut tiles {
                Tiles::Bf16(tiles) => tiles[range].par_chunks_mut(pair).enumerate().for_each_init(
                    Vec::new,
                    |values, (index, tiles)| {
                        block(index, values);
                        let matrix = Matrix::new(values, part.len());
                        pack(matrix, 0, 0..part.len(), Form::Pairs, tiles);
                    },
                ),
                Tiles::Levels(levels) => levels.fill(range, pair, |index, values| {
                    let rows = block(index, values);
                    (rows.start, part.len())
                })?,
            }
        }
        Ok(Self {
            shape: [outputs, inputs],
            tiles,
        })
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
            Tiles::Bf16(tiles) => size_of_val(tiles.as_slice()),
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
    pub(super) fn unpack_tiles(&self, part: &Range<usize>, first: usize, tiles: &mut [Tile]) {
        let start = self.place(part, first);
        match &self.tiles {
            Tiles::Bf16(own) => tiles.copy_from_slice(&own[start..start + tiles.len()]),
            Tiles::Levels(levels) => {
                for (index, tile) in tiles.iter_mut().enumerate() {
                    levels.unpack(start + index, tile);
                }
            }
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
                    let tile = self.tile(self.place(&part, panel) + (step - part.start) / DEPTH);
                    let rows = &mut values[(step - inputs.start) * outputs.len()..];
                    for (index, row) in rows.chunks_mut(outputs.len()).take(DEPTH).enumerate() {
                        let pairs = &tile.0[index / 2 * PANEL..][..PANEL];
                        for (value, pair) in row[panel - outputs.start..].iter_mut().zip(pairs) {
                            *value = f32::from_bits(if index % 2 == 0 {
                                pair << 16
                            } else {
                                pair & 0xffff_0000
                            });
                        }
                    }
                }
            }
        }
        values
    }

    fn tile(&self, index: usize) -> Cow<'_, Tile> {
        match &self.tiles {
            Tiles::Bf16(tiles) => Cow::Borrowed(&tiles[index]),
            Tiles::Levels(levels) => {
                let mut tile = Tile::default();
                levels.unpack(index, &mut tile);
                Cow::Owned(tile)
            }
        }
    }

    /// Index of the first tile of a part of the inputs and of the panel that begins at an output.
    fn place(&self, part: &Range<usize>, output: usize) -> usize {
        let panels = self.outputs().next_multiple_of(BLOCK) / PANEL;
        part.start / DEPTH * panels + output / PANEL * part.len().div_ceil(DEPTH)
    }
}
