//! What can be wrong with what is evaluated.

use thiserror::Error;

/// Scores or labels from which no figure can be drawn.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A figure over nothing.
    #[error("there are no {what} to evaluate: a mean over nothing means nothing")]
    Empty {
        /// What is missing.
        what: &'static str,
    },
    /// Two lists that must go together do not.
    #[error("{what}: {actual} where {expected} are needed")]
    Length {
        /// Which list.
        what: String,
        /// How many entries would fit.
        expected: usize,
        /// How many there are.
        actual: usize,
    },
    /// A query to which nothing in the gallery belongs.
    #[error("query {query} has no positive in the gallery: leave such queries out, they can never be hit")]
    NoPositive {
        /// Row of the query.
        query: usize,
    },
    /// An image whose caption nothing judges.
    #[error("image {image} has no reference caption: leave such images out")]
    NoReference {
        /// Position of the image.
        image: usize,
    },
    /// A question that nobody answered.
    #[error("question {question} has no human answer: leave such questions out")]
    NoAnswer {
        /// Position of the question.
        question: usize,
    },
    /// An index behind the end of the gallery.
    #[error("query {query} names item {item}, but the gallery holds {gallery}")]
    OutOfGallery {
        /// Row of the query.
        query: usize,
        /// The offending index.
        item: usize,
        /// Number of items in the gallery.
        gallery: usize,
    },
    /// A score that orders nothing.
    #[error("the score of query {query} and item {item} is not a number: the model has diverged")]
    NotANumber {
        /// Row of the query.
        query: usize,
        /// Column of the item.
        item: usize,
    },
    /// A candidate that would fall behind what was never a candidate.
    #[error(
        "candidate {item} of query {query} scores {score}, which is not above the {floor} of all that were not re-ranked"
    )]
    BelowFloor {
        /// Row of the query.
        query: usize,
        /// Column of the candidate.
        item: usize,
        /// Its score.
        score: f32,
        /// The score of everything else.
        floor: f32,
    },
}
