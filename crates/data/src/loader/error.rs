//! What stops a run that reads data.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use thiserror::Error;

/// What stops a run that reads data.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataLoaderError {
    /// No batch can be formed.
    #[error("rows {} to {} of a batch of {batch}: there must be at least one, and none behind the last", rows.start, rows.end)]
    Rows {
        /// Rows of the global batch.
        batch: u64,
        /// Those that should be read here.
        rows: Range<u64>,
    },
    /// More samples were damaged than may be.
    #[error(
        "{skipped} of {seen} samples could not be used, {} of them are allowed (max_skipped = {allowed}): {counts}. Mend the \
         data (each such sample is listed in skipped.jsonl), or allow more",
        (*allowed * *seen as f64) as u64
    )]
    TooManySkipped {
        /// How many were damaged.
        skipped: u64,
        /// How many were seen.
        seen: u64,
        /// The share that is allowed.
        allowed: f64,
        /// Sets and reasons with their numbers.
        counts: String,
    },
    /// None of many samples of a set could be used.
    #[error("none of {tried} samples of {set} that were tried can be used; the last: {problem}")]
    NothingLeft {
        /// The set.
        set: String,
        /// How many were tried.
        tried: usize,
        /// What was wrong with the last.
        problem: String,
    },
    /// The list of damaged samples cannot be written.
    #[error("cannot write the list of damaged samples {path}: {source}")]
    Ledger {
        /// Where it should lie.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
