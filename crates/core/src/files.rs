//! Reading the files of a model folder: what Git left in the place of a large file is told from the file itself.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::path::Path;

/// How a pointer of Git LFS begins (its specification, version 1).
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The content of the file at `path`.
///
/// # Errors
/// What the system says; or that the file is a Git LFS pointer, and what to do.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let content = std::fs::read(path)?;
    refuse_pointer(&content)?;
    Ok(content)
}

/// The first bytes of the file at `path`, at most `count`: enough to tell what it is.
///
/// # Errors
/// As for [`read`].
pub fn read_start(path: &Path, count: usize) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    let longest = count.max(POINTER.len()) as u64;
    File::open(path)?.take(longest).read_to_end(&mut start)?;
    refuse_pointer(&start)?;
    start.truncate(count);
    Ok(start)
}

/// # Errors
/// Where a file that begins with `start` is a Git LFS pointer.
pub fn refuse_pointer(start: &[u8]) -> Result<()> {
    if !start.starts_with(POINTER) {
        return Ok(());
    }
    Err(Error::other(
        "it is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder, or download the file",
    ))
}
