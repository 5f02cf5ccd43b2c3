//! Reading the files of a model folder: what Git left in the place of a large file is told from the file itself.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::path::Path;

/// How a pointer of Git LFS begins (its specification, version 1), also as it did before it was published.
const POINTERS: [&[u8]; 3] = [
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
    b"version http://git-media.io/v/",
];

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
    let pointer = POINTERS.iter().map(|pointer| pointer.len()).max();
    let longest = count.max(pointer.unwrap_or_default()) as u64;
    File::open(path)?.take(longest).read_to_end(&mut start)?;
    refuse_pointer(&start)?;
    start.truncate(count);
    Ok(start)
}

/// # Errors
/// Where a file that begins with `start` is a Git LFS pointer.
pub fn refuse_pointer(start: &[u8]) -> Result<()> {
    if !POINTERS.iter().any(|pointer| start.starts_with(pointer)) {
        return Ok(());
    }
    Err(Error::other(
        "it is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder, or download the file",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_of_every_age_are_told_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (version, pointer) in [
            ("https://git-lfs.github.com/spec/v1", true),
            ("https://hawser.github.com/spec/v1", true),
            ("http://git-media.io/v/2", true),
            ("https://example.org/spec/v1", false),
        ] {
            std::fs::write(&path, format!("version {version}\noid sha256:4d7a\nsize 12345\n")).unwrap();
            assert_eq!(read(&path).is_err(), pointer, "{version}");
            assert_eq!(read_start(&path, 4).is_err(), pointer, "{version}");
        }
    }
}
