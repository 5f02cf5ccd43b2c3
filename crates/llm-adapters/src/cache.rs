//! KV cache: keys and values of the tokens read so far. They stay where they were written: when beams change places, each row
//! only learns anew where its tokens stand, the rows of one beginning share it, and rows of any length stand side by side.

use std::sync::Arc;

use blip2_kernels::{CacheReads, PartRead};
use burn::tensor::Tensor;

/// Where the tokens of each row stand: in parts, in the same ones in every layer.
#[derive(Default)]
pub(crate) struct Origins {
    /// What each row reads of each part: a beginning, or the tokens that all rows wrote at a time.
    parts: Vec<Arc<[PartRead]>>,
    /// Tokens that each row reads of all parts.
    lengths: Vec<usize>,
}

impl Origins {
    pub(crate) fn rows(&self) -> usize {
        self.lengths.len()
    }

    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Adds rows behind the others, that read the first tokens of new parts: row by row of each part, `tokens` says how many.
    pub(crate) fn join(&mut self, tokens: &[Vec<usize>]) {
        let joined = tokens.first().map_or(0, Vec::len);
        let none = |count: usize| std::iter::repeat_n(PartRead::default(), count);
        for reads in &mut self.parts {
            *reads = reads.iter().cloned().chain(none(joined)).collect();
        }
        for tokens in tokens {
            let own = tokens
                .iter()
                .enumerate()
                .map(|(row, count)| PartRead { row, keys: 0..*count });
            self.parts.push(none(self.rows()).chain(own).collect());
        }
        let lengths = (0..joined).map(|row| tokens.iter().map(|tokens| tokens[row]).sum());
        self.lengths.extend(lengths.collect::<Vec<usize>>());
    }

    /// Lets row `i` go on where row `parents[i]` was. Parts that no row reads any longer are dropped, here and, by what is
    /// returned of each part, in the caches of the layers.
    pub(crate) fn follow(&mut self, parents: &[usize]) -> Vec<bool> {
        for reads in &mut self.parts {
            *reads = parents.iter().map(|parent| reads[*parent].clone()).collect();
        }
        self.lengths = parents.iter().map(|parent| self.lengths[*parent]).collect();
        let is_read = |reads: &Arc<[PartRead]>| reads.iter().any(|read| !read.keys.is_empty());
        let kept: Vec<bool> = self.parts.iter().map(is_read).collect();
        self.parts.retain(is_read);
        kept
    }

    /// Adds one token to each row.
    pub(crate) fn write(&mut self) {
        let own = |row| PartRead { row, keys: 0..1 };
        self.parts.push((0..self.rows()).map(own).collect());
        self.lengths.iter_mut().for_each(|length| *length += 1);
    }

    /// What the rows read of all parts.
    pub(crate) fn reads(&self) -> CacheReads {
        self.parts.clone().into()
    }

    /// The same of the `window` last tokens of each row.
    pub(crate) fn reads_within(&self, window: usize) -> CacheReads {
        let mut hidden: Vec<usize> = self
            .lengths
            .iter()
            .map(|length| length.saturating_sub(window))
            .collect();
        let visible = |reads: &Arc<[PartRead]>| {
            reads
                .iter()
                .zip(&mut hidden)
                .map(|(read, hidden)| {
                    let gone = read.keys.len().min(*hidden);
                    *hidden -= gone;
                    PartRead {
                        row: read.row,
                        keys: read.keys.start + gone..read.keys.end,
                    }
                })
                .collect()
        };
        self.parts
            .iter()
            .map(visible)
            .collect::<Vec<Arc<[PartRead]>>>()
            .into()
    }
}

/// Keys and values of some tokens, `[rows, key heads, tokens, head width]` each.
#[derive(Clone)]
pub(crate) struct Remembered {
    pub(crate) key: Tensor<4>,
    pub(crate) value: Tensor<4>,
}

impl Remembered {
    /// The first `tokens`.
    pub(crate) fn first(&self, tokens: usize) -> Self {
        Self {
            key: self.key.clone().narrow(2, 0, tokens),
            value: self.value.clone().narrow(2, 0, tokens),
        }
    }

    /// `parts`, one behind the other.
    pub(crate) fn joined(parts: impl Iterator<Item = Self>) -> Self {
        let (keys, values) = parts.map(|part| (part.key, part.value)).unzip();
        Self {
            key: Tensor::cat(keys, 2),
            value: Tensor::cat(values, 2),
        }
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let of = |x: &Tensor<4>| x.shape().num_elements() * x.dtype().size();
        of(&self.key) + of(&self.value)
    }
}
