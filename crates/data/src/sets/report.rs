//! What was found wrong with a data set apart from its samples.

use serde::{Deserialize, Serialize};

/// Something that was left out of a data set, or looked odd in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it means for the set.
    pub severity: Severity,
    /// A word for counts, such as `no_picture`: one of a fixed list, in lower case with underscores.
    pub reason: String,
    /// The file that it was found in.
    pub file: String,
    /// The sample, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was wrong.
    pub problem: String,
}

/// What a report means for the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look: everything could be read.
    Warning,
    /// One sample was left out.
    Skipped,
    /// The file could not be read to its end, or not at all: samples may be missing that nothing is known of.
    File,
}
