//! Reading a store: mapped into memory, so that the system keeps what is used and nothing is loaded in advance.

use super::{FeatureError, HALF_BYTES, KEY, LENGTH_BYTES, TENSOR};
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Features of `[count, tokens, width]` on disk.
#[derive(Debug)]
pub struct FeatureStore {
    path: PathBuf,
    map: Mmap,
    start: usize,
    count: usize,
    tokens: usize,
    width: usize,
}

/// The key of what a store holds: a hash over everything that decides the features, each part set apart by its length.
pub fn content_key<P: AsRef<[u8]>>(parts: &[P]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.as_ref().len() as u64).to_le_bytes());
        hasher.update(part);
    }
    format!("{:x}", hasher.finalize())
}

impl FeatureStore {
    /// Opens a store and checks that it is whole and was made under `key`.
    ///
    /// # Errors
    /// If the file cannot be read, is no store, is cut short, or has another key.
    pub fn open(path: &Path, key: &str) -> Result<Self, FeatureError> {
        let failed = |source| FeatureError::Read {
            path: path.to_path_buf(),
            source,
        };
        let malformed = |reason: String| FeatureError::Malformed {
            path: path.to_path_buf(),
            reason,
        };
        let file = File::open(path).map_err(failed)?;
        // SAFETY: a finished store is never written again, only replaced as a whole by a rename, which leaves this
        // mapping on the old file.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|error| malformed(error.to_string()))?;
        let found = metadata
            .metadata()
            .as_ref()
            .and_then(|entries| entries.get(KEY))
            .cloned();
        let found = found.ok_or_else(|| malformed("it has no content key".into()))?;
        if found != key {
            return Err(FeatureError::WrongKey {
                path: path.to_path_buf(),
                found,
                expected: key.to_owned(),
            });
        }
        let info = metadata
            .info(TENSOR)
            .ok_or_else(|| malformed(format!("it has no tensor {TENSOR:?}")))?;
        let (Dtype::F16, &[count, tokens, width]) = (info.dtype, &info.shape[..]) else {
            return Err(malformed(format!(
                "{TENSOR:?} is {:?} {:?}, not f16 of rank 3",
                info.dtype, info.shape
            )));
        };
        let start = LENGTH_BYTES + header + info.data_offsets.0;
        Ok(Self {
            path: path.to_path_buf(),
            map,
            start,
            count,
            tokens,
            width,
        })
    }

    /// Number of rows (one picture, or one view of it, each).
    pub fn count(&self) -> usize {
        self.count
    }

    /// Image tokens in a row.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Width of a token.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows of `indices`, in that order, as f32 `[batch, tokens, width]`.
    ///
    /// # Errors
    /// If an index lies outside, or is that of a sample that could not be read when features were computed.
    pub fn batch(&self, indices: &[usize], device: &Device) -> Result<Tensor<3>, FeatureError> {
        let row = self.tokens * self.width;
        let mut values = vec![0.0; indices.len() * row];
        let mut halves = Vec::with_capacity(row);
        for (position, index) in indices.iter().copied().enumerate() {
            if index >= self.count {
                let (path, count) = (self.path.clone(), self.count);
                return Err(FeatureError::OutOfRange { path, index, count });
            }
            let start = self.start + index * row * HALF_BYTES;
            let bytes = &self.map[start..start + row * HALF_BYTES];
            if bytes.iter().all(|byte| *byte == 0) {
                let path = self.path.clone();
                return Err(FeatureError::Absent { path, index });
            }
            halves.clear();
            halves.extend(bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)));
            halves.convert_to_f32_slice(&mut values[position * row..][..row]);
        }
        let shape = [indices.len(), self.tokens, self.width];
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }
}
