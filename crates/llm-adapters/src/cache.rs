//! Keys and values of the tokens read so far.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};

use crate::batch::list;

/// Places added when a cache is full: it grows in steps, so that most tokens are written where there is room already.
const GROWTH: usize = 32;

/// The beginning that each row of a text stems from: its prompt, as opposed to what was written behind.
pub(crate) struct Beginnings(Vec<usize>);

/// Rows that go on where others were.
pub(crate) struct Move {
    /// For each row, the row whose text it continues.
    pub(crate) parents: Tensor<1, Int>,
    /// Whether each row keeps its beginning, as the beams of one text do.
    pub(crate) same_beginnings: bool,
}

impl Beginnings {
    pub(crate) fn new(rows: usize) -> Self {
        Self((0..rows).collect())
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.len()
    }

    /// Lets row `i` go on where row `parents[i]` was; `None` if all rows stay where they are.
    pub(crate) fn follow(&mut self, parents: &[usize], device: &Device) -> Option<Move> {
        if parents.iter().copied().eq(0..self.0.len()) {
            return None;
        }
        let beginnings: Vec<usize> = parents.iter().map(|parent| self.0[*parent]).collect();
        let same_beginnings = beginnings == self.0;
        self.0 = beginnings;
        Some(Move {
            parents: list(parents.iter().map(|parent| *parent as i64).collect(), device),
            same_beginnings,
        })
    }
}

/// Keys and values of one attention, `[rows, key heads, places, head width]` each. Places behind the text are unused.
pub(crate) struct LayerCache {
    pub(crate) key: Tensor<4>,
    pub(crate) value: Tensor<4>,
}

impl LayerCache {
    /// Writes `key` and `value` `[rows, key heads, 1, head width]` to place `at`, and gives all up to there.
    pub(crate) fn insert(&mut self, at: usize, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let put = |cache: &mut Tensor<4>, new: Tensor<4>| {
            let [rows, heads, places, width] = cache.dims();
            cache.inplace(|cache| {
                let cache = if at < places {
                    cache
                } else {
                    let room = Tensor::zeros([rows, heads, GROWTH, width], (&cache.device(), cache.dtype()));
                    Tensor::cat(vec![cache, room], 2)
                };
                cache.slice_assign([0..rows, 0..heads, at..at + 1, 0..width], new)
            });
            cache.clone().slice([0..rows, 0..heads, 0..at + 1, 0..width])
        };
        (put(&mut self.key, key), put(&mut self.value, value))
    }

    /// Moves rows, of which only the places `written` differ where they have one beginning.
    pub(crate) fn select(&mut self, rows: &Move, written: Range<usize>) {
        for tensor in [&mut self.key, &mut self.value] {
            tensor.inplace(|tensor| {
                if !rows.same_beginnings {
                    return tensor.select(0, rows.parents.clone());
                }
                if written.is_empty() {
                    return tensor;
                }
                let [count, heads, _, width] = tensor.dims();
                let part = [0..count, 0..heads, written.clone(), 0..width];
                let moved = tensor.clone().slice(part.clone()).select(0, rows.parents.clone());
                tensor.slice_assign(part, moved)
            });
        }
    }
}
