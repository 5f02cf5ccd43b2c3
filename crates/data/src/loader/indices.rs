//! The order of a data set in memory, whole epochs at a time: decided by seed and epoch alone, so that a resumed run goes on
//! exactly where the broken one stopped.

use crate::Stream;
use serde::{Deserialize, Serialize};

/// Why a loader cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoaderError {
    /// No batch can be formed.
    #[error(
        "cannot form batches of {batch} from {len} examples: a batch needs at least 1 and at most all of them"
    )]
    Batch {
        /// Examples in a batch.
        batch: usize,
        /// Examples in all.
        len: usize,
    },
    /// A position from another data set.
    #[error("cannot go on at example {index} of {len}: the checkpoint belongs to a larger data set")]
    Position {
        /// The position's index.
        index: usize,
        /// Examples in all.
        len: usize,
    },
}

/// The order of `len` examples in an epoch.
pub fn order(seed: u64, epoch: u64, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    Stream::new(seed, "epoch order", epoch).shuffle(&mut order);
    order
}

/// How far a run has come; part of its checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whole epochs behind it.
    pub epoch: u64,
    /// Examples of this epoch behind it.
    pub index: usize,
}

/// An endless sequence of batches of indices: every epoch a new order, its incomplete last batch dropped.
#[derive(Debug, Clone)]
pub struct Loader {
    seed: u64,
    batch: usize,
    position: Position,
    order: Vec<usize>,
}

impl Loader {
    /// Batches of `batch` out of `len` examples, going on at `position` (the default: from the start).
    ///
    /// # Errors
    /// If no whole batch can be formed or the position lies outside.
    pub fn new(seed: u64, len: usize, batch: usize, position: Position) -> Result<Self, LoaderError> {
        if batch == 0 || batch > len {
            return Err(LoaderError::Batch { batch, len });
        }
        if position.index > len {
            return Err(LoaderError::Position {
                index: position.index,
                len,
            });
        }
        Ok(Self {
            seed,
            batch,
            position,
            order: order(seed, position.epoch, len),
        })
    }

    /// Where the next batch begins, to be kept in a checkpoint.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whole batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.order.len() / self.batch
    }

    /// The indices of the next batch, `[batch]`, all different.
    pub fn next_batch(&mut self) -> Vec<usize> {
        if self.position.index + self.batch > self.order.len() {
            self.position = Position {
                epoch: self.position.epoch + 1,
                index: 0,
            };
            self.order = order(self.seed, self.position.epoch, self.order.len());
        }
        let start = self.position.index;
        self.position.index += self.batch;
        self.order[start..self.position.index].to_vec()
    }
}
