//! Which samples a shard has and where: read once from its headers, kept in a file beside others, mapped from then on.
//!
//! ```text
//! BLIP2IDX | version | shard: size, changed | samples | hash of what lies where | bytes of reports | samples: start, end | reports
//! ```
//! All numbers are little-endian and of 64 bits, the hash is a SHA-256; the reports are JSON. A sample takes 16 bytes.

use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;

use memmap2::Mmap;

use super::place::Stamp;
use crate::sets::Report;

const MAGIC: &[u8; 8] = b"BLIP2IDX";
const VERSION: u64 = 1;
/// Bytes before the first sample, and of a sample.
const HEAD: usize = 80;
const ENTRY: usize = 16;

/// The samples of one shard.
pub(super) struct Index {
    map: Mmap,
    samples: usize,
}

/// What is written into an index.
#[derive(Default)]
pub(super) struct Draft {
    /// Where each sample begins and ends in the archive.
    pub(super) samples: Vec<[u64; 2]>,
    /// What was left out or looked odd.
    pub(super) reports: Vec<Report>,
    /// A hash of what lies where.
    pub(super) hash: [u8; 32],
}

impl Draft {
    /// Writes the index of a shard.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, stamp: Stamp, file: &mut File) -> Result<()> {
        let reports = serde_json::to_vec(&self.reports)?;
        let mut target = std::io::BufWriter::new(file);
        target.write_all(MAGIC)?;
        for number in [
            VERSION,
            stamp.size,
            stamp.changed as u64,
            self.samples.len() as u64,
        ] {
            target.write_all(&number.to_le_bytes())?;
        }
        target.write_all(&self.hash)?;
        target.write_all(&(reports.len() as u64).to_le_bytes())?;
        for place in self.samples.as_flattened() {
            target.write_all(&place.to_le_bytes())?;
        }
        target.write_all(&reports)?;
        target.flush()
    }
}

impl Index {
    /// The index at `path`, where it is there, whole, and one of the shard with this stamp.
    pub(super) fn open(path: &Path, stamp: Stamp) -> Option<Self> {
        let file = File::open(path).ok()?;
        // SAFETY: indexes appear by renaming and are not written to any more; another program that shortens one while it is
        // mapped would stop this one, as it would with any mapped file.
        let map = unsafe { Mmap::map(&file) }.ok()?;
        let head = map.get(..HEAD)?;
        let number = |place: usize| word(head, place);
        let is_current =
            head.starts_with(MAGIC) && [8, 16, 24].map(number) == [VERSION, stamp.size, stamp.changed as u64];
        let samples = usize::try_from(number(32)).ok()?;
        let length = samples.checked_mul(ENTRY)?.checked_add(HEAD)?;
        let whole = length.checked_add(usize::try_from(number(72)).ok()?)?;
        (is_current && map.len() == whole).then_some(Self { map, samples })
    }

    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        self.samples
    }

    /// Where sample `at` begins and ends in the archive.
    ///
    /// # Panics
    /// Where there is no such sample.
    pub(super) fn place(&self, at: usize) -> [u64; 2] {
        assert!(at < self.samples, "sample {at} of {}", self.samples);
        let entry = HEAD + at * ENTRY;
        [word(&self.map, entry), word(&self.map, entry + 8)]
    }

    /// A hash of what lies where.
    pub(super) fn hash(&self) -> &[u8] {
        &self.map[40..72]
    }

    /// What was left out or looked odd; nothing where the text of it is damaged.
    pub(super) fn reports(&self) -> Vec<Report> {
        let text = &self.map[HEAD + self.samples * ENTRY..];
        serde_json::from_slice(text).unwrap_or_default()
    }
}

fn word(bytes: &[u8], place: usize) -> u64 {
    let word = bytes[place..].first_chunk();
    u64::from_le_bytes(*word.expect("the length was checked when the index was opened"))
}
