//! How a collective fails.

use crate::EngineError;

/// A collective that failed. Each message names the operation, its shape and the rank.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CollectiveError {
    /// Another rank is at something else, or has another shape.
    #[error(
        "{doing}: rank {other} is at {theirs}; all ranks must run the same program, recipe and run folder, and have the same \
         shapes"
    )]
    Apart {
        /// What this rank was at: operation, shape, rank.
        doing: String,
        /// Which other rank.
        other: usize,
        /// What that one was at.
        theirs: String,
    },
    /// Ranks were started with different settings.
    #[error(
        "rank {other} of {size} has another {what} than rank 0: {theirs} there, {first} on rank 0 (this is rank {rank}); start \
         all ranks with the same"
    )]
    Disagree {
        /// This rank.
        rank: usize,
        /// Of how many.
        size: usize,
        /// What differs: `recipe`, `shape of qformer.query_tokens`.
        what: String,
        /// Which rank differs from the first.
        other: usize,
        /// What that one has.
        theirs: String,
        /// What rank 0 has.
        first: String,
    },
    /// The transport failed.
    #[error("{doing}")]
    Engine {
        /// What this rank was at: operation, shape, rank.
        doing: String,
        /// Why.
        #[source]
        source: EngineError,
    },
}
