//! In what order a run sees a data set: a function of seed, epoch and position alone, so that any position can be computed
//! without those before it, and no number of workers or processes changes it.
//!
//! Shards come in a random order; within a window of neighbouring shards of that order, samples do. So only the shards of one
//! window are read at a time, and what is kept is a number for each shard, none for a sample.

use std::sync::Arc;

use crate::Stream;
use crate::permutation::Permutation;
use crate::recent::Recent;

/// How many shards are mixed with each other, unless something else is asked for.
pub const WINDOW: usize = 16;

/// The order of a data set over any number of epochs; each sees every sample once.
pub struct Order {
    seed: u64,
    /// Where each run of neighbouring samples begins, and at the end how many samples there are.
    starts: Vec<u64>,
    window: usize,
    recent: Recent<Epoch>,
}

/// The order of one epoch.
struct Epoch {
    /// The runs in their order.
    runs: Vec<usize>,
    /// How many samples lie in front of each of them in this order, and at the end how many there are.
    before: Vec<u64>,
}

impl Order {
    /// The order under `seed` of a set with these `runs` of neighbouring samples
    /// ([`Dataset::runs`](crate::sets::Dataset::runs)), of which `window` are mixed with each other, at least one.
    pub fn new(seed: u64, runs: &[u64], window: usize) -> Self {
        Self {
            seed,
            starts: ends(runs.iter().copied()),
            window: window.max(1),
            recent: Recent::new(),
        }
    }

    /// How many samples an epoch has.
    pub fn len(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The index of the sample at `position` of `epoch`.
    ///
    /// # Panics
    /// Where `position` is not below [`Order::len`].
    pub fn index(&self, epoch: u64, position: u64) -> u64 {
        let (count, samples) = (self.starts.len() - 1, self.len());
        assert!(position < samples, "position {position} of {samples}");
        let Epoch { runs, before } = &*self.epoch(epoch);
        let window = holder(before, position) / self.window;
        let (first, last) = (window * self.window, ((window + 1) * self.window).min(count));
        let (start, end) = (before[first], before[last]);
        let mut stream = Stream::new(self.seed, &format!("samples of window {window}"), epoch);
        let place = start + Permutation::new(end - start, &mut stream).at(position - start);
        let holder = holder(before, place);
        self.starts[runs[holder]] + place - before[holder]
    }

    fn epoch(&self, epoch: u64) -> Arc<Epoch> {
        self.recent.get(epoch, || {
            let mut runs: Vec<usize> = (0..self.starts.len() - 1).collect();
            Stream::new(self.seed, "order of shards", epoch).shuffle(&mut runs);
            let sizes = runs.iter().map(|run| self.starts[run + 1] - self.starts[*run]);
            Epoch {
                before: ends(sizes),
                runs,
            }
        })
    }
}

/// How much lies in front of each of `sizes`, and at the end the sum of all.
pub(crate) fn ends(sizes: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut ends = vec![0];
    ends.extend(sizes.scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    }));
    ends
}

/// Which piece holds `place`, where `before` says how much lies in front of each; never an empty one.
pub(crate) fn holder(before: &[u64], place: u64) -> usize {
    before.partition_point(|before| *before <= place) - 1
}
