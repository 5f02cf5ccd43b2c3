//! What can go wrong between an encoder and its stored features.

use std::path::PathBuf;

/// What can go wrong with stored features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// The file could not be read.
    #[error("cannot read stored features {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file could not be written, for want of room or rights.
    #[error("cannot write stored features {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is cut short or no store.
    #[error("{path} holds no whole features: {reason}; delete it and let it be computed again")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The features were computed from other pictures, weights or settings.
    #[error(
        "{path} was computed under the key {found}, not {expected}: encoder, settings or pictures have changed"
    )]
    WrongKey {
        /// The file.
        path: PathBuf,
        /// The key in the file.
        found: String,
        /// The key that was asked for.
        expected: String,
    },
    /// The row is zeros: there was no picture for it when the features were computed.
    #[error(
        "{path} has no features of sample {index}, whose picture could not be read when they were computed, and can be now: delete the \
         file and let it be computed again"
    )]
    Absent {
        /// The file.
        path: PathBuf,
        /// The sample.
        index: usize,
    },
    /// A batch that does not fit the store.
    #[error(
        "features of [{rows}, {found_tokens}, {found_width}] do not fit a store of [*, {tokens}, {width}]"
    )]
    Shape {
        /// Rows of the batch.
        rows: usize,
        /// Tokens of the batch.
        found_tokens: usize,
        /// Width of the batch.
        found_width: usize,
        /// Tokens of the store.
        tokens: usize,
        /// Width of the store.
        width: usize,
    },
    /// More or fewer rows were written than announced.
    #[error("{path} was announced with {expected} rows but got {found}")]
    Count {
        /// The file.
        path: PathBuf,
        /// Announced rows.
        expected: usize,
        /// Rows so far, or in all.
        found: usize,
    },
    /// A value that half precision cannot hold.
    #[error(
        "row {row} holds a value that is not finite in half precision: the encoder's output is broken or beyond 65504"
    )]
    NotFinite {
        /// The first such row.
        row: usize,
    },
    /// A row that is not there.
    #[error("row {index} was asked for, but {path} holds {count}")]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The row asked for.
        index: usize,
        /// Rows of the store.
        count: usize,
    },
    /// The batch's values could not be brought to the host as f32.
    #[error("cannot read the values of a batch of features: {0}")]
    Values(String),
}
