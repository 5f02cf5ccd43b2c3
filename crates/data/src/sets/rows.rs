//! What annotations say about each sample, packed: some bytes a sample beside its texts, whatever the file they came from.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Question;

/// What annotations say about one sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) key: String,
    /// Names a file among the pictures.
    pub(super) picture: String,
    pub(super) texts: Vec<String>,
    pub(super) question: Option<Question>,
    pub(super) image_id: Option<String>,
}

/// Rows one after another, in one block of memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    pub(super) fn push(&mut self, row: &Row) {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes =
            postcard::to_extend(row, bytes).expect("a row has nothing that cannot be written to memory");
        self.ends.push(self.bytes.len());
    }

    pub(super) fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The row at `index`, `None` behind the last.
    pub(super) fn get(&self, index: u64) -> Option<Row> {
        let index = usize::try_from(index).ok()?;
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(postcard::from_bytes(&self.bytes[start..end]).expect("it was written by `push`"))
    }

    /// A hash of all of them.
    pub(super) fn fingerprint(&self) -> String {
        let hash = Sha256::digest(&self.bytes);
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<'row> Extend<&'row Row> for Rows {
    fn extend<Iter: IntoIterator<Item = &'row Row>>(&mut self, rows: Iter) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}
