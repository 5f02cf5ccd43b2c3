//! What can be wrong with weights.

use std::path::PathBuf;

use thiserror::Error;

/// How many names of one kind an error lists before it only counts.
const LISTED: usize = 20;

/// A weight file that cannot be read, or that belongs to another model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The operating system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// `read`, `write`, ...
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is truncated, damaged, or of another kind.
    #[error("{path} is not a usable {format} file: {reason}", path = path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What it was taken for.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder without weights that can be read.
    #[error(
        "{folder} holds no weights: none of {names} is there",
        folder = folder.display(),
        names = looked_for.join(", ")
    )]
    NoWeights {
        /// Which folder.
        folder: PathBuf,
        /// The files that would do.
        looked_for: Vec<&'static str>,
    },
    /// A tensor that the store does not have.
    #[error("{file} has no tensor named `{name}`")]
    Absent {
        /// Which store.
        file: String,
        /// Which tensor.
        name: String,
    },
    /// The tensors of the store and the parameters of the model do not fit.
    #[error(
        "the weights in {file} do not fit this model:{}",
        report(missing, unexpected, misshapen)
    )]
    Mismatch {
        /// Which store.
        file: String,
        /// Needed by the model, absent from the store.
        missing: Vec<String>,
        /// Present in the store, unknown to the model.
        unexpected: Vec<String>,
        /// `name: shape in the store, shape in the model`.
        misshapen: Vec<String>,
    },
}

impl WeightError {
    pub(crate) fn format(path: &std::path::Path, format: &'static str, reason: impl ToString) -> Self {
        Self::Format {
            path: path.to_owned(),
            format,
            reason: reason.to_string(),
        }
    }
}

fn report(missing: &[String], unexpected: &[String], misshapen: &[String]) -> String {
    let mut text = String::new();
    for (kind, names) in [
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", misshapen),
    ] {
        if names.is_empty() {
            continue;
        }
        text += &format!(
            "\n  {} {kind}: {}",
            names.len(),
            names[..names.len().min(LISTED)].join(", ")
        );
        if names.len() > LISTED {
            text += &format!(", and {} more", names.len() - LISTED);
        }
    }
    text
}
