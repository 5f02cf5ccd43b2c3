//! What keeps a data set from being opened.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// What keeps a data set from being opened. What is wrong with one sample alone is a [`SampleError`](super::SampleError).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetError {
    /// What was asked for cannot be meant.
    #[error("data set `{spec}`: {problem}")]
    Spec {
        /// As it was written.
        spec: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// No format of that name.
    #[error("`{format}` is no format of data sets; known are {known}")]
    UnknownFormat {
        /// The name that was given.
        format: String,
        /// The names that there are.
        known: String,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was read cannot be kept.
    #[error(
        "cannot keep what was read for {path}: {source}; is the cache folder writable, and is there room?"
    )]
    Keep {
        /// Of which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else than its format asks for.
    #[error("{path}{place}: {problem}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Where in it, such as `, line 3`; empty where it is about all of it.
        place: String,
        /// What was found, and what should be there.
        problem: String,
    },
}

impl SetError {
    /// For [`Result::map_err`]: the failure of reading `path`.
    pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// The failure of looking into `folder`.
    pub(super) fn walking(folder: &Path, error: walkdir::Error) -> Self {
        Self::Read {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        }
    }

    /// `path` as a whole is not what its format asks for.
    pub fn malformed(path: &Path, problem: impl ToString) -> Self {
        Self::malformed_at(path, "", problem)
    }

    /// `path` is not what its format asks for at `place`, such as `line 3` or `images[2].id`.
    pub fn malformed_at(path: &Path, place: &str, problem: impl ToString) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            place: match place {
                "" => String::new(),
                place => format!(", {place}"),
            },
            problem: problem.to_string(),
        }
    }
}
