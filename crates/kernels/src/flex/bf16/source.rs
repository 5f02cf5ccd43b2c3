//! Where the tiles of a weight come from at the moment: from memory, or from numbers that they are made of on the way to a
//! product. What they hold is the same.

use std::ops::Range;
use std::sync::Arc;

use super::late::Rows;
use super::levels::Levels;
use super::lines::{self, Line, halves};
use super::pack::{DEPTH, PANEL, Tile};
use super::with_tiles;

pub(super) enum Source<'a> {
    Ready(&'a [Tile]),
    Rows(Arc<Rows>),
    Levels(&'a Levels),
}

impl Source<'_> {
    /// The tile at an index, made in `space` if it does not lie ready.
    pub(super) fn tile<'a>(&'a self, index: usize, space: &'a mut Tile) -> &'a Tile {
        match self {
            Self::Ready(tiles) => return &tiles[index],
            Self::Rows(rows) => rows.fill(index, std::slice::from_mut(space)),
            Self::Levels(levels) => levels.unpack(index, space),
        }
        space
    }

    /// Fills `tiles` with those from an index on.
    pub(super) fn fill(&self, first: usize, tiles: &mut [Tile]) {
        match self {
            Self::Ready(own) => tiles.copy_from_slice(&own[first..first + tiles.len()]),
            Self::Rows(rows) => rows.fill(first, tiles),
            Self::Levels(levels) => {
                for (offset, tile) in tiles.iter_mut().enumerate() {
                    levels.unpack(first + offset, tile);
                }
            }
        }
    }

    /// Calls `work` with a range of tiles.
    pub(super) fn with(&self, range: Range<usize>, work: impl FnOnce(&[Tile])) {
        if let Self::Ready(tiles) = self {
            return work(&tiles[range]);
        }
        with_tiles(range.len(), |tiles| {
            self.fill(range.start, tiles);
            work(tiles)
        })
    }

    /// The numbers of the tile at an index, in the precision of bfloat16.
    pub(super) fn lines(&self, index: usize, lines: &mut [Line; DEPTH]) {
        match self {
            Self::Levels(levels) => levels.lines(index, lines),
            _ => lines::widen(self.tile(index, &mut Tile::default()), lines),
        }
    }

    /// The numbers of the tile at an index: those of its first column, then those of the next.
    pub(super) fn numbers(&self, index: usize) -> [[f32; PANEL]; DEPTH] {
        if let Self::Levels(levels) = self {
            return levels.numbers(index);
        }
        let mut space = Tile::default();
        let mut numbers = [[0.0; PANEL]; DEPTH];
        let pairs = self.tile(index, &mut space).0.as_chunks::<PANEL>().0;
        for (pair, columns) in pairs.iter().zip(numbers.as_chunks_mut::<2>().0) {
            *columns = [pair.map(|pair| halves(pair)[0]), pair.map(|pair| halves(pair)[1])];
        }
        numbers
    }
}
