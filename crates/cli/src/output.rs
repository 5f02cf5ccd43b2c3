//! Results to stdout, failures to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Error, Result};
use serde::Serialize;

/// Writes one line to stdout.
pub(crate) fn line(text: impl Display) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Writes `record` as JSON on one line of stdout.
pub(crate) fn json(record: &impl Serialize) -> Result<()> {
    line(serde_json::to_string(record)?)
}

/// Whether stdout was closed by its reader.
pub(crate) fn is_closed_pipe(error: &Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// Writes `error` and its causes to stderr. A cause that its consequence has quoted is not said twice.
pub(crate) fn report(error: &Error) {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !last.contains(&cause) {
            text += &format!("\n  caused by: {cause}");
        }
        last = cause;
    }
    warn(text);
}

/// Writes one line to stderr.
pub(crate) fn warn(text: impl Display) {
    // Where stderr is closed nobody can be told.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
