//! Safetensors files: one, or a Hugging Face folder of shards, mapped into memory and read lazily.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Bytes, DType, TensorData};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};

use super::index::Layout;
use super::map::{map_file, view};
use super::shards::Shards;
use super::{TensorInfo, TensorStore, WeightError};

const FORMAT: &str = "safetensors";
/// How a folder keeps them.
pub(super) const LAYOUT: Layout = Layout {
    single: "model.safetensors",
    index: "model.safetensors.index.json",
};

/// One safetensors file, or the shards that `model.safetensors.index.json` names.
pub struct SafetensorsStore(Shards<Shard>);

struct Shard {
    path: PathBuf,
    map: Arc<Mmap>,
    metadata: Metadata,
    tensors: BTreeMap<String, TensorInfo>,
    /// Where the values begin, in bytes from the start of the file.
    values: usize,
}

impl SafetensorsStore {
    /// Opens a safetensors file, or a folder with `model.safetensors` or its index.
    ///
    /// # Errors
    /// [`WeightError::Io`] or [`WeightError::Format`], with the file at fault.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let shards = LAYOUT.files(path)?.into_iter().map(Shard::open);
        let shards = shards.collect::<Result<_, _>>()?;
        Shards::join(path.display().to_string(), FORMAT, shards).map(Self)
    }
}

impl TensorStore for SafetensorsStore {
    fn label(&self) -> String {
        self.0.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        self.0.tensors()
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        self.0.read(name)
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, WeightError> {
        let map = Arc::new(map_file(&path)?);
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&map)
            .map_err(|error| WeightError::format(&path, FORMAT, error))?;
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let dtype = dtype(info.dtype).ok_or_else(|| {
                WeightError::format(
                    &path,
                    FORMAT,
                    format!(
                        "tensor `{name}` holds {:?}, not a supported number format",
                        info.dtype
                    ),
                )
            })?;
            // burn has no tensor without dimensions: a scalar, such as LAVIS's temperature, reads as one value.
            let shape = if info.shape.is_empty() {
                vec![1]
            } else {
                info.shape.clone()
            };
            tensors.insert(name, TensorInfo { dtype, shape });
        }
        Ok(Self {
            values: header + 8,
            path,
            map,
            metadata,
            tensors,
        })
    }
}

impl TensorStore for Shard {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let (Some(info), Some(expected)) = (self.metadata.info(name), self.tensors.get(name)) else {
            return Err(WeightError::Absent {
                file: self.label(),
                name: name.to_owned(),
            });
        };
        let (start, end) = info.data_offsets;
        let mut bytes = view(&self.map, self.values + start..self.values + end);
        // Files may be written so that numbers stand at odd places.
        if bytes.as_ptr().align_offset(expected.dtype.size()) != 0 {
            bytes = Bytes::from_bytes_vec(bytes.to_vec());
        }
        TensorData::try_from_bytes(bytes, expected.shape.clone(), expected.dtype)
            .map_err(|error| WeightError::format(&self.path, FORMAT, error))
    }
}

fn dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F64 => Some(DType::F64),
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::I64 => Some(DType::I64),
        Dtype::I32 => Some(DType::I32),
        Dtype::I16 => Some(DType::I16),
        Dtype::I8 => Some(DType::I8),
        Dtype::U64 => Some(DType::U64),
        Dtype::U32 => Some(DType::U32),
        Dtype::U16 => Some(DType::U16),
        // A truth is a byte of 0 or 1.
        Dtype::U8 | Dtype::BOOL => Some(DType::U8),
        _ => None,
    }
}
