//! What can go wrong while a report is written or read.

use std::path::PathBuf;

use thiserror::Error;

/// Why a report was not written, or not read. What stood in the run folder before is left as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file that cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A picture that is named by more or less than a file name.
    #[error("{name:?} is no name of a file in the folder `pictures` of the run: give the bare file name")]
    PictureName {
        /// The name given.
        name: String,
    },
    /// A picture in another format.
    #[error("{} is not a PNG: the pictures of a report are embedded as they are, write them as PNG", path.display())]
    NotPng {
        /// Which file.
        path: PathBuf,
    },
    /// A summary entry that cannot be shown on one line.
    #[error("the summary's {name:?} is {value}: give a number or text")]
    Summary {
        /// Its name.
        name: String,
        /// What it holds.
        value: serde_json::Value,
    },
    /// A figure that is not finite or not a share.
    #[error("{what} is {value}, but {expected} is needed")]
    Figure {
        /// Which figure.
        what: String,
        /// Its value.
        value: f64,
        /// What would fit.
        expected: &'static str,
    },
    /// A map of attention that does not cover its grid.
    #[error(
        "query {query} of the look at {picture} has {actual} weights, but its grid of {rows} by {columns} needs {needed}"
    )]
    Grid {
        /// File name of the picture.
        picture: String,
        /// Which query.
        query: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        columns: usize,
        /// Weights needed.
        needed: usize,
        /// Weights given.
        actual: usize,
    },
    /// A map of attention that cannot be encoded.
    #[error("cannot encode the attention of query {query} over {picture} as PNG")]
    Encode {
        /// File name of the picture.
        picture: String,
        /// Which query.
        query: usize,
        /// What the encoder says.
        source: png::EncodingError,
    },
    /// A `report.json` that is none.
    #[error("{} is not the report of a run: train again, or give the folder of another run", path.display())]
    NotAReport {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Figures that cannot be written as JSON.
    #[error("cannot write the figures as JSON")]
    Json(#[from] serde_json::Error),
}
