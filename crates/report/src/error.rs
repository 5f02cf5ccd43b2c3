//! What can go wrong while a report is written.

use std::path::PathBuf;

use thiserror::Error;

/// Why a report was not written. Files that stood there before are left as they were.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file that cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// `read`, `write`, ...
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A picture named by a sample or a look that is not a plain file name.
    #[error("{name:?} does not name a file of the folder pictures: give the bare file name")]
    Picture {
        /// The name given.
        name: String,
    },
    /// A map of attention that does not cover its grid.
    #[error(
        "query {query} of the look at {picture} has {actual} weights, but a grid of {rows} by {columns} needs {rows} x {columns}"
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
        /// Weights given.
        actual: usize,
    },
    /// A heat map that cannot be encoded.
    #[error("cannot encode the attention map of query {query} over {picture} as PNG")]
    Encode {
        /// File name of the picture.
        picture: String,
        /// Which query.
        query: usize,
        /// What the encoder says.
        source: image::ImageError,
    },
    /// Figures that are no JSON, such as a summary entry that is not a number or text.
    #[error("cannot write the figures as JSON")]
    Json(#[from] serde_json::Error),
}
