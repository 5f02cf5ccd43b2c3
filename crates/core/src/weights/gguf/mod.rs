//! GGUF files (versions 2 and 3), as llama.cpp writes them: metadata and quantised tensors, mapped into memory.
//!
//! The layout is that of the format's own specification (`docs/gguf.md` of the ggml project). Nothing in the file is
//! believed before it is checked: every length is compared with the bytes that are left before memory is asked for.

mod header;
mod k_quants;
mod metadata;
mod quantization;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use memmap2::Mmap;

pub use metadata::GgufValue;

use super::map::map_file;
use super::{TensorInfo, TensorStore, WeightError};
use header::{Header, Location};

const FORMAT: &str = "GGUF";

/// One GGUF file. Shapes are outermost first, as PyTorch counts them; values are read as f32, whatever they are stored in.
pub struct GgufStore {
    path: PathBuf,
    map: Mmap,
    metadata: BTreeMap<String, GgufValue>,
    tensors: BTreeMap<String, TensorInfo>,
    locations: BTreeMap<String, Location>,
}

impl GgufStore {
    /// The first four bytes of every GGUF file.
    pub const MAGIC: [u8; 4] = *b"GGUF";

    /// Maps the file and reads its header.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the file cannot be mapped; [`WeightError::Format`] where the header is damaged, a
    /// tensor lies outside of the file, or a tensor is stored in a way that is not supported.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let map = map_file(path)?;
        let header = Header::parse(&map).map_err(|reason| WeightError::format(path, FORMAT, reason))?;
        let tensors = header
            .tensors
            .iter()
            .map(|(name, location)| {
                (
                    name.clone(),
                    TensorInfo {
                        dtype: DType::F32,
                        shape: location.shape.clone(),
                    },
                )
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            metadata: header.metadata,
            tensors,
            locations: header.tensors,
        })
    }

    /// The file this store reads.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata value called `key`, as `read` understands it; `None` where the file has no such key.
    ///
    /// `read` is one of the conversions of [`GgufValue`], such as [`GgufValue::as_u64`].
    ///
    /// # Errors
    /// [`WeightError::Format`] where the value is of another type.
    pub fn optional<'a, T>(
        &'a self,
        key: &str,
        read: impl Fn(&'a GgufValue) -> Option<T>,
    ) -> Result<Option<T>, WeightError> {
        let Some(value) = self.metadata.get(key) else {
            return Ok(None);
        };
        let wrong = || {
            self.unusable(format!(
                "metadata `{key}` is {}, another type is needed",
                value.kind()
            ))
        };
        read(value).ok_or_else(wrong).map(Some)
    }

    /// As [`GgufStore::optional`], for a key that must be there.
    ///
    /// # Errors
    /// [`WeightError::Format`] where the key is absent or its value of another type.
    pub fn required<'a, T>(
        &'a self,
        key: &str,
        read: impl Fn(&'a GgufValue) -> Option<T>,
    ) -> Result<T, WeightError> {
        self.optional(key, read)?
            .ok_or_else(|| self.unusable(format!("metadata has no `{key}`")))
    }

    /// An error about this file, for readers of its metadata.
    pub fn unusable(&self, reason: impl ToString) -> WeightError {
        WeightError::format(&self.path, FORMAT, reason)
    }
}

impl TensorStore for GgufStore {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let location = self.locations.get(name).ok_or_else(|| WeightError::Absent {
            file: self.label(),
            name: name.to_owned(),
        })?;
        let values = location.storage.dequantize(&self.map[location.bytes.clone()]);
        Ok(TensorData::new(values, location.shape.clone()))
    }
}
