//! Weight files in memory without reading them.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{AllocationProperty, Bytes};
use memmap2::Mmap;

use super::WeightError;
use crate::files::refuse_pointer;

/// How much of a file the system is asked to fetch while what stands before it is packed, in bytes.
#[cfg(unix)]
const AHEAD: usize = 64 << 20;

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
    let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
    refuse_pointer(&map).map_err(failed)?;
    Ok(map)
}

/// The bytes at `range`, not copied. Once dropped, their pages are given back to the system, which reads them anew if they are
/// wanted again: a model that was copied out of a file must not count twice.
pub(super) fn view(map: &Arc<Mmap>, range: Range<usize>) -> Bytes {
    #[cfg(unix)]
    {
        // Advice, whose refusal changes nothing.
        let next = AHEAD.min(map.len() - range.end);
        let _ = map.advise_range(memmap2::Advice::WillNeed, range.end, next);
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::PopulateRead, range.start, range.len());
    }
    let part = Part {
        map: map.clone(),
        range,
    };
    Bytes::from_shared(bytes::Bytes::from_owner(part), AllocationProperty::File)
}

struct Part {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            let forget = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the map is read only and backed by a file, so that a page that is given back holds the same when it is
            // next touched. A refusal changes nothing.
            let _ = unsafe {
                self.map
                    .unchecked_advise_range(forget, self.range.start, self.range.len())
            };
        }
    }
}
