//! Packing of GEMM operands (panels): bfloat16 numbers laid out in tiles.

use std::ops::Range;

use super::lines::{self, Line, lines_mut};
use super::pages::Plain;
use super::unit::{Unit, unit};
use crate::flex::linear::Matrix;

/// Rows or columns of the target that a panel holds.
pub(super) const PANEL: usize = 16;

/// Length of the sums that a tile holds.
pub(super) const DEPTH: usize = 32;

/// 16 rows of 16 pairs of bfloat16, the first of a pair in the lower half: what a tile register holds.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [u32; PANEL * DEPTH / 2]);

// SAFETY: whole numbers.
unsafe impl Plain for Tile {}

impl Default for Tile {
    fn default() -> Self {
        Self([0; PANEL * DEPTH / 2])
    }
}

/// What the rows of a tile are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Rows of the operand: for the left one.
    Rows,
    /// Pairs along the sum, each with its element of every row of the operand: for the right one.
    Pairs,
}

/// What stands for a number in single precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Digits {
    /// The number itself.
    Single,
    /// The nearest in bfloat16, in single precision: where there is no unit for bfloat16.
    Rounded,
    /// The nearest in bfloat16.
    One,
    /// Three of them whose sum it is: 8 of its 24 bits each, the leading ones first, in tiles that follow each other.
    Three,
}

impl Digits {
    /// The nearest in bfloat16, as this processor multiplies it.
    pub(crate) fn nearest() -> Self {
        match unit() {
            Unit::Single => Self::Rounded,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            _ => Self::One,
        }
    }

    /// Tiles that 16 rows of [`DEPTH`] numbers take.
    pub(super) fn tiles(self) -> usize {
        match self {
            Self::Single | Self::Rounded => 2,
            Self::One => 1,
            Self::Three => 3,
        }
    }

    /// Tiles of a panel.
    pub(super) fn panel(self, depth: usize) -> usize {
        self.tiles() * depth.div_ceil(DEPTH)
    }
}

/// Packs rows of a matrix from `first` on, the part `depth` of their columns, until `tiles` is full: panel by panel, each
/// along the depth. What lies outside of the matrix counts as zero.
pub(super) fn pack(
    matrix: Matrix,
    first: usize,
    depth: Range<usize>,
    form: Form,
    digits: Digits,
    tiles: &mut [Tile],
) {
    let steps = depth.len().div_ceil(DEPTH);
    let panels = tiles.len() / digits.panel(depth.len());
    let fill = |index: usize, step: usize, tiles: &mut [Tile]| {
        let row = first + index * PANEL;
        let column = depth.start + step * DEPTH;
        let part = Part {
            matrix,
            rows: row..(row + PANEL).min(matrix.rows).max(row),
            columns: column..(column + DEPTH).min(depth.end),
        };
        let place = (index * steps + step) * digits.tiles();
        let tiles = &mut tiles[place..place + digits.tiles()];
        match digits {
            Digits::Single => part.line_up(lines_mut(tiles)),
            Digits::Rounded => {
                part.line_up(lines_mut(tiles));
                lines::round(lines_mut(tiles));
            }
            _ => part.pack(form, tiles),
        }
    };
    // Neighbours in memory one after the other.
    if matrix.row_stride == 1 {
        (0..steps).for_each(|step| (0..panels).for_each(|index| fill(index, step, tiles)));
    } else {
        (0..panels).for_each(|index| (0..steps).for_each(|step| fill(index, step, tiles)));
    }
}

/// What goes into one tile, or into as many as it has digits.
struct Part<'a> {
    matrix: Matrix<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Part<'_> {
    /// The numbers of the part as lines.
    fn line_up(&self, lines: &mut [Line]) {
        let Matrix {
            values,
            row_stride,
            column_stride,
            ..
        } = self.matrix;
        let whole = [self.rows.len(), self.columns.len()] == [PANEL, DEPTH];
        let start = self.rows.start * row_stride + self.columns.start * column_stride;
        if whole && column_stride == 1 {
            lines::rows(&values[start..], row_stride, lines);
        } else if whole && row_stride == 1 {
            lines::columns(&values[start..], column_stride, lines);
        } else {
            lines::rows(self.gather().as_flattened(), DEPTH, lines);
        }
    }

    fn pack(&self, form: Form, tiles: &mut [Tile]) {
        #[cfg(target_arch = "x86_64")]
        if unit() != Unit::Single {
            // SAFETY: the units other than `Single` are found only where there are AVX-512 and its bfloat16.
            return unsafe {
                match tiles {
                    [tile] => self.pack_wide(form, std::array::from_mut(tile)),
                    tiles => self.pack_wide::<3>(form, tiles.try_into().expect("three digits if not one")),
                }
            };
        }
        let [tile] = tiles else {
            unreachable!("several digits only where tile registers multiply")
        };
        let mut lines = [[0.0; PANEL]; DEPTH];
        self.line_up(&mut lines);
        match form {
            Form::Rows => lines::row_pairs(&lines, tile),
            Form::Pairs => lines::column_pairs(&lines, tile),
        }
    }

    /// The numbers of the part, with zeros to make the tile full.
    fn gather(&self) -> [[f32; DEPTH]; PANEL] {
        let mut values = [[0.0; DEPTH]; PANEL];
        for (row, values) in self.rows.clone().zip(&mut values) {
            for (column, value) in self.columns.clone().zip(values) {
                *value =
                    self.matrix.values[row * self.matrix.row_stride + column * self.matrix.column_stride];
            }
        }
        values
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    fn pack_wide<const DIGITS: usize>(&self, form: Form, tiles: &mut [Tile; DIGITS]) {
        use super::wide;

        let Matrix {
            values,
            row_stride,
            column_stride,
            ..
        } = self.matrix;
        if self.rows.is_empty() {
            return tiles.fill(Tile::default());
        }
        let values = &values[self.rows.start * row_stride + self.columns.start * column_stride..];
        let size = [self.rows.len(), self.columns.len()];
        if column_stride == 1 {
            wide::rows(values, row_stride, size, form == Form::Pairs, tiles);
        } else if row_stride == 1 {
            wide::pairs(values, column_stride, size, form == Form::Rows, tiles);
        } else {
            let values = self.gather();
            wide::rows(
                values.as_flattened(),
                DEPTH,
                [PANEL, DEPTH],
                form == Form::Pairs,
                tiles,
            );
        }
    }
}

/// The nearest bfloat16, ties to even.
#[inline(always)]
pub(super) fn narrow(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // A quiet one: a NaN whose mark is in the lower half must not become an infinity.
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}
