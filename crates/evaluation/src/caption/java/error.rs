//! What can go wrong with a scorer's program.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::EvaluationError;

/// Why a Java scorer gave no score.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JavaError {
    /// The images cannot be scored at all.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// The program is not there.
    #[error(
        "there is no {path}: give the path of METEOR's or SPICE's jar; METEOR's comes with the Python package pycocoevalcap, \
         in its folder `meteor`, SPICE's in its folder `spice`",
        path = path.display()
    )]
    NoJar {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// SPICE lacks what it parses captions with.
    #[error(
        "SPICE needs {path}: fetch Stanford CoreNLP 3.6.0 (of 2015-12-09) and put its jar and that of its models there",
        path = path.display()
    )]
    NoParser {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Java did not start.
    #[error("{java} does not start: {source}; install a Java runtime, or name the one to use", java = java.display())]
    NoJava {
        /// What was called.
        java: PathBuf,
        /// Why it did not start.
        source: io::Error,
    },
    /// The program ended early, or answered something else than scores.
    #[error("{path} gave no scores: {reason}; its last words: {complaints}", path = path.display())]
    Failed {
        /// The scorer.
        path: PathBuf,
        /// What it did.
        reason: String,
        /// The end of what it wrote of errors.
        complaints: String,
    },
    /// The files through which SPICE is spoken to.
    #[error("cannot exchange captions with {path} by file: {source}", path = path.display())]
    Exchange {
        /// The scorer.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
