//! Weight files in memory without reading them.

use std::fs::File;
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
