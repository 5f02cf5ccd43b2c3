//! Runs of one to four words, counted.

use std::collections::BTreeMap;

/// The longest run that BLEU and CIDEr count.
pub(super) const LONGEST: usize = 4;

/// The runs of one length, in their order, so that sums over them are the same in every run.
pub(super) type Counts<'a> = BTreeMap<Vec<&'a str>, usize>;

/// A caption as BLEU and CIDEr see it.
pub(super) struct NGrams<'a> {
    /// Number of words.
    pub(super) words: usize,
    /// How often each run of `n + 1` words occurs, at `n`.
    pub(super) counts: [Counts<'a>; LONGEST],
}

impl<'a> NGrams<'a> {
    pub(super) fn of(caption: &'a str) -> Self {
        let words: Vec<&str> = caption.split_whitespace().collect();
        let counts = std::array::from_fn(|n| {
            let mut counts = Counts::new();
            for run in words.windows(n + 1) {
                *counts.entry(run.to_vec()).or_insert(0) += 1;
            }
            counts
        });
        Self {
            words: words.len(),
            counts,
        }
    }
}
