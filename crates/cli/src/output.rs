//! Results to stdout, failures to stderr.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::iter::successors;

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

/// `error` and its causes. A cause that its consequence has quoted is not said twice.
fn causes(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut last = error.to_string();
    for cause in successors(error.source(), |cause| cause.source()).map(ToString::to_string) {
        if !last.contains(&cause) {
            said.push(cause.clone());
        }
        last = cause;
    }
    said
}

/// Writes one line to stderr.
pub(crate) fn warn(text: impl Display) {
    // Where stderr is closed nobody can be told.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
