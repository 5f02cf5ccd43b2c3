//! METEOR and SPICE: the scorers' own Java programs, run where the user has them. Both rest on large tables and parsers,
//! and a likeness under the same name would mislead.

mod error;
mod meteor;
mod running;
mod spice;

use std::path::PathBuf;

pub use error::JavaError;
pub use meteor::meteor;
pub use spice::spice;

/// A scorer's program, and what runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jar {
    /// `meteor-1.5.jar` or `spice-1.0.jar`; the folder that it came with stays beside it.
    pub path: PathBuf,
    /// The Java: a name on the search path, or a path.
    pub java: PathBuf,
}

impl Jar {
    /// The scorer of this path, run by the `java` on the search path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            java: PathBuf::from("java"),
        }
    }
}
