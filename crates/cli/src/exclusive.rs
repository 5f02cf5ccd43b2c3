//! Files that one process alone writes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::model::named;

/// Opens the file at `path` to read it and to write behind its end, and makes it where there is none. While it is open, nobody else
/// gets it by this; where the file system knows no locks, as some in a network, anybody does.
///
/// # Errors
/// Where another process has it, or the system refuses.
pub(crate) fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(path);
    let file = file.with_context(|| format!("cannot write {}", named(path)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "{} is being written by another process: wait for it, or name another --out",
            named(path)
        ),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", named(path))),
    }
}
