//! Weight files in memory without reading them.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;

use super::WeightError;

/// Maps a weight file, read only.
pub(super) fn map_file(path: &Path) -> Result<Mmap, WeightError> {
    let failed = |source| WeightError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // SAFETY: the map is read only, and weights are never rewritten in place (writers rename a finished file); a file cut
    // short by another program while it is mapped is outside of what can be guarded against.
    unsafe { Mmap::map(&file) }.map_err(failed)
}

/// A copy of the bytes at `range`. Their pages are given back to the system, which reads them anew if they are wanted again:
/// a model that was copied out of a file must not count twice.
pub(super) fn copy_out(map: &Mmap, range: Range<usize>) -> Vec<u8> {
    let bytes = map[range.clone()].to_vec();
    #[cfg(unix)]
    {
        let forget = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: the map is read only and backed by a file, so that a page that is given back holds the same when it is next
        // touched. A refusal changes nothing.
        let _ = unsafe { map.unchecked_advise_range(forget, range.start, range.len()) };
    }
    bytes
}
