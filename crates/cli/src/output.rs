//! Results to stdout, failures to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Error, Result};
use blip2::causes;
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

/// Writes `error` and its causes to stderr.
pub(crate) fn report(error: &Error) {
    warn(format_args!(
        "error: {}",
        causes(error.as_ref()).join("\n  caused by: ")
    ));
}

/// `error` and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).join(": ")
}

/// Writes one line to stderr.
pub(crate) fn warn(text: impl Display) {
    // Where stderr is closed nobody can be told.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
