//! The header: metadata, then where and how each tensor is stored.

use std::collections::BTreeMap;
use std::ops::Range;

use super::quantization::Storage;
use super::reader::Reader;
use super::{GgufStore, GgufValue};

const DEFAULT_ALIGNMENT: u64 = 32;
const MOST_DIMENSIONS: u32 = 4;

/// Fewest bytes of a metadata entry (name length, type, one byte) and of a tensor entry (name length, number of
/// dimensions, type, offset).
const SMALLEST_ENTRY: usize = 13;
const SMALLEST_TENSOR: usize = 24;

pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, GgufValue>,
    pub(super) tensors: BTreeMap<String, Location>,
}

/// Where a tensor lies in the file.
pub(super) struct Location {
    /// Outermost dimension first; the file counts innermost first.
    pub(super) shape: Vec<usize>,
    pub(super) storage: Storage,
    /// Inside of the file, checked.
    pub(super) bytes: Range<usize>,
}

/// A tensor entry as it stands in the file.
struct Entry {
    name: String,
    shape: Vec<usize>,
    storage: Storage,
    size: usize,
    offset: u64,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != GgufStore::MAGIC {
            return Err("it does not begin with `GGUF`".to_owned());
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!(
                "its version is {version}; versions 2 and 3 (little-endian) are supported"
            ));
        }
        let tensor_count = reader.count("tensors", SMALLEST_TENSOR)?;
        let metadata = read_metadata(&mut reader)?;
        let alignment = alignment(&metadata)?;
        let entries = (0..tensor_count)
            .map(|_| Entry::read(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        let start = reader.position().next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for entry in entries {
            let bytes = entry.locate(start, alignment, bytes.len())?;
            let location = Location {
                shape: entry.shape,
                storage: entry.storage,
                bytes,
            };
            if tensors.contains_key(&entry.name) {
                return Err(format!("tensor `{}` is listed twice", entry.name));
            }
            tensors.insert(entry.name, location);
        }
        Ok(Self { metadata, tensors })
    }
}

fn read_metadata(reader: &mut Reader) -> Result<BTreeMap<String, GgufValue>, String> {
    let count = reader.count("metadata entries", SMALLEST_ENTRY)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = reader.text()?.to_owned();
        let value = GgufValue::read(reader).map_err(|error| format!("metadata `{key}`: {error}"))?;
        if metadata.contains_key(&key) {
            return Err(format!("metadata `{key}` is given twice"));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, GgufValue>) -> Result<usize, String> {
    let alignment = match metadata.get("general.alignment") {
        None => Some(DEFAULT_ALIGNMENT),
        Some(value) => value.as_u64(),
    };
    match alignment {
        // Bounded, so that rounding a position in the file up to it cannot overflow.
        Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 30 => Ok(alignment as usize),
        _ => Err("`general.alignment` must be a power of two and at most 2^30".to_owned()),
    }
}

impl Entry {
    fn read(reader: &mut Reader) -> Result<Self, String> {
        let name = reader.text()?.to_owned();
        let in_tensor = |error: String| format!("tensor `{name}`: {error}");
        let rank = reader.u32()?;
        if rank == 0 || rank > MOST_DIMENSIONS {
            return Err(in_tensor(format!(
                "it has {rank} dimensions; 1 to {MOST_DIMENSIONS} are possible"
            )));
        }
        let mut shape = (0..rank)
            .map(|_| usize::try_from(reader.u64()?).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(in_tensor)?;
        let storage = Storage::from_code(reader.u32()?).map_err(in_tensor)?;
        let offset = reader.u64()?;
        let size = storage.size(&shape).map_err(in_tensor)?;
        shape.reverse();
        Ok(Self {
            name,
            shape,
            storage,
            size,
            offset,
        })
    }

    /// The bytes of the tensor in a file of `length` bytes whose tensors begin at `start`.
    fn locate(&self, start: usize, alignment: usize, length: usize) -> Result<Range<usize>, String> {
        let offset = usize::try_from(self.offset)
            .ok()
            .filter(|offset| offset % alignment == 0);
        let Some(offset) = offset else {
            return Err(format!(
                "tensor `{}` begins at {}, which is not a multiple of the alignment {alignment}",
                self.name, self.offset
            ));
        };
        let begin = start.checked_add(offset);
        let end = begin.and_then(|begin| begin.checked_add(self.size));
        match (begin, end) {
            (Some(begin), Some(end)) if end <= length => Ok(begin..end),
            _ => Err(format!(
                "tensor `{}` needs {} bytes from offset {offset} on, but the file has only {length} in all: it is \
                 truncated or damaged",
                self.name, self.size
            )),
        }
    }
}
