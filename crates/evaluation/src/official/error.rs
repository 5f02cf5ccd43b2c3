//! What can be wrong with an official file.

use thiserror::Error;

use super::Id;

/// A file that is not in the official form, or two that do not go together. Entries are counted from 0.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfficialError {
    /// Not JSON, a key that is missing, or a value of another kind.
    #[error("{file}, at {place}: {reason}")]
    Format {
        /// Which file.
        file: String,
        /// The path to the value, such as `annotations[3].caption`.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// Two entries of one id.
    #[error("{file}: entries {first} and {second} are both of {what} {id}; leave one of them out")]
    Doubled {
        /// Which file.
        file: String,
        /// Image or question.
        what: &'static str,
        /// Its id.
        id: Id,
        /// The entry that came first.
        first: usize,
        /// And the other one.
        second: usize,
    },
    /// A result for what was not asked.
    #[error(
        "{file}: entry {entry} is of {what} {id}, of which {annotations} says nothing; are these the annotations of the same split?"
    )]
    Unknown {
        /// The results.
        file: String,
        /// Which entry.
        entry: usize,
        /// Image or question.
        what: &'static str,
        /// Its id.
        id: Id,
        /// The annotations.
        annotations: String,
    },
    /// No result for what was asked.
    #[error(
        "{file} lacks {missing} of the {all} {what}s of {annotations}, the first is {what} {first}; a published figure is of all \
         of them, with --subset it is of those that are there"
    )]
    Missing {
        /// The results.
        file: String,
        /// Image or question.
        what: &'static str,
        /// How many are missing.
        missing: usize,
        /// Of how many.
        all: usize,
        /// The first of them.
        first: Id,
        /// The annotations.
        annotations: String,
    },
    /// A question that nobody answered.
    #[error("{file}: entry {entry}, question {id}, has no answers of people; leave such questions out")]
    Unanswered {
        /// The annotations.
        file: String,
        /// Which entry.
        entry: usize,
        /// The question.
        id: Id,
    },
}
