//! Safetensors files: one, or a Hugging Face folder of shards, mapped into memory and read lazily.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Bytes, DType, TensorData};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata};

use super::map::{map_file, view};
use super::{TensorInfo, TensorStore, WeightError, index};

const FORMAT: &str = "safetensors";
pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// One safetensors file, or the shards that `model.safetensors.index.json` names.
pub struct SafetensorsStore {
    label: String,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, TensorInfo>,
    home: BTreeMap<String, usize>,
}

struct Shard {
    path: PathBuf,
    map: Arc<Mmap>,
    metadata: Metadata,
    /// Where the values begin, in bytes from the start of the file.
    values: usize,
}

impl SafetensorsStore {
    /// Opens a safetensors file, or a folder with `model.safetensors` or its index.
    ///
    /// # Errors
    /// [`WeightError::Io`] or [`WeightError::Format`], with the file at fault.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let files = if !path.is_dir() {
            vec![path.to_owned()]
        } else if path.join(SINGLE).is_file() {
            vec![path.join(SINGLE)]
        } else {
            index::shards(path)?
        };
        let mut store = Self {
            label: path.display().to_string(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            home: BTreeMap::new(),
        };
        for file in files {
            store.add(Shard::open(file)?)?;
        }
        Ok(store)
    }

    fn add(&mut self, shard: Shard) -> Result<(), WeightError> {
        for (name, info) in shard.metadata.tensors() {
            let dtype = float_dtype(info.dtype).ok_or_else(|| {
                WeightError::format(
                    &shard.path,
                    FORMAT,
                    format!(
                        "tensor `{name}` holds {:?}, not a supported number format",
                        info.dtype
                    ),
                )
            })?;
            if self.home.insert(name.clone(), self.shards.len()).is_some() {
                return Err(WeightError::format(
                    &shard.path,
                    FORMAT,
                    format!("tensor `{name}` stands in two shards"),
                ));
            }
            // burn has no tensor without dimensions: a scalar, such as LAVIS's temperature, reads as one value.
            let shape = if info.shape.is_empty() {
                vec![1]
            } else {
                info.shape.clone()
            };
            self.tensors.insert(name, TensorInfo { dtype, shape });
        }
        self.shards.push(shard);
        Ok(())
    }
}

impl TensorStore for SafetensorsStore {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let absent = || WeightError::Absent {
            file: self.label.clone(),
            name: name.to_owned(),
        };
        let shard = &self.shards[*self.home.get(name).ok_or_else(absent)?];
        let info = shard.metadata.info(name).ok_or_else(absent)?;
        let (start, end) = info.data_offsets;
        let expected = &self.tensors[name];
        let mut bytes = view(&shard.map, shard.values + start..shard.values + end);
        // Files may be written so that numbers stand at odd places.
        if bytes.as_ptr().align_offset(expected.dtype.size()) != 0 {
            bytes = Bytes::from_bytes_vec(bytes.to_vec());
        }
        TensorData::try_from_bytes(bytes, expected.shape.clone(), expected.dtype)
            .map_err(|error| WeightError::format(&shard.path, FORMAT, error))
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, WeightError> {
        let map = Arc::new(map_file(&path)?);
        let (header, metadata) = safetensors::SafeTensors::read_metadata(&map)
            .map_err(|error| WeightError::format(&path, FORMAT, error))?;
        Ok(Self {
            values: header + 8,
            path,
            map,
            metadata,
        })
    }
}

fn float_dtype(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F64 => Some(DType::F64),
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::I64 => Some(DType::I64),
        Dtype::I32 => Some(DType::I32),
        Dtype::I8 => Some(DType::I8),
        Dtype::U8 => Some(DType::U8),
        _ => None,
    }
}
