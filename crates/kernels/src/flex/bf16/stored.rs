//! Packing of numbers that are stored in bfloat16: a tile is their bits in another order.

use std::ops::Range;

use half::bf16;

use super::pack::{DEPTH, PANEL, Tile};
#[cfg(target_arch = "x86_64")]
use super::unit::{Unit, unit};

/// Rows of a weight as they are stored, one behind the other.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub(super) values: &'a [bf16],
    /// Numbers of a row.
    pub(super) width: usize,
}

impl Stored<'_> {
    /// Packs some rows, a part of their columns, panel by panel, each along the columns. What `tiles` has more counts as zero.
    pub(super) fn pack(self, rows: Range<usize>, columns: Range<usize>, tiles: &mut [Tile]) {
        let steps = columns.len().div_ceil(DEPTH);
        for (index, panel) in tiles.chunks_mut(steps).enumerate() {
            let first = (rows.start + index * PANEL).min(rows.end);
            let rows = first..(first + PANEL).min(rows.end);
            for (step, tile) in panel.iter_mut().enumerate() {
                let column = columns.start + step * DEPTH;
                self.tile(rows.clone(), column..(column + DEPTH).min(columns.end), tile);
            }
        }
    }

    pub(super) fn tile(self, rows: Range<usize>, columns: Range<usize>, tile: &mut Tile) {
        #[cfg(target_arch = "x86_64")]
        if rows.len() == PANEL && columns.len() == DEPTH && unit() != Unit::Single {
            let values = &self.values[rows.start * self.width + columns.start..];
            // SAFETY: the units other than `Single` are found only where there is AVX-512.
            return unsafe { whole(values, self.width, tile) };
        }
        *tile = Tile::default();
        for (place, row) in rows.enumerate() {
            let values = &self.values[row * self.width..][columns.clone()];
            for (pair, values) in values.chunks(2).enumerate() {
                let second = values.get(1).map_or(0, |value| u32::from(value.to_bits()));
                tile.0[pair * PANEL + place] = u32::from(values[0].to_bits()) | second << 16;
            }
        }
    }
}

/// A tile of 16 rows of 32 numbers that are `stride` numbers apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn whole(values: &[bf16], stride: usize, tile: &mut Tile) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_setzero_si512};

    use super::wide;

    let mut rows = [_mm512_setzero_si512(); PANEL];
    for (index, row) in rows.iter_mut().enumerate() {
        // SAFETY: the slice is checked to hold 32 numbers.
        *row = unsafe { _mm512_loadu_si512(values[index * stride..][..DEPTH].as_ptr().cast()) };
    }
    wide::store(&wide::transposed(&rows), tile);
}
