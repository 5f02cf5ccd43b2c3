//! Writing safetensors so that a file exists whole or not at all. Tensors are read when their turn comes, one at a time.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, Metadata, TensorInfo as Entry};

use super::safetensors::LAYOUT;
use super::{TensorInfo, TensorStore, WeightError};

const FORMAT: &str = "safetensors";
/// Values begin at a multiple of this many bytes.
const ALIGNMENT: usize = 8;

/// The most that one shard of a Hugging Face folder holds, in bytes: 5 GB, as `transformers` has cut since 2022.
pub const SHARD_BYTES: usize = 5_000_000_000;

/// Writes `tensors` to `path`: to a sibling file first, flushed to disk, then renamed.
///
/// # Errors
/// [`WeightError::Io`] where the disk refuses; a former file at `path` is then untouched. [`WeightError::Format`] for a
/// number format that safetensors does not have.
pub fn write_safetensors(
    path: &Path,
    tensors: &[(String, TensorData)],
    metadata: HashMap<String, String>,
) -> Result<(), WeightError> {
    let by_name: BTreeMap<&str, &TensorData> =
        tensors.iter().map(|(name, data)| (name.as_str(), data)).collect();
    let info = |data: &TensorData| TensorInfo {
        dtype: data.dtype(),
        shape: data.shape().to_vec(),
    };
    let infos = by_name.iter().map(|(name, data)| (*name, info(data))).collect();
    write(path, infos, metadata, &mut |name| {
        Ok(Cow::Borrowed(by_name[name]))
    })
}

/// Writes all tensors of `store` to `path`, as [`write_safetensors`] does.
///
/// # Errors
/// As for [`write_safetensors`], and what reading `store` gives.
pub fn write_store(path: &Path, store: &dyn TensorStore) -> Result<(), WeightError> {
    let names: Vec<&str> = store.tensors().keys().map(String::as_str).collect();
    write_some(path, store, &names)
}

/// Writes all tensors of `store` into `folder` as `transformers` does: to `model.safetensors`, or, where they take more than
/// `shard_bytes`, to shards and their index, in the order of the names.
///
/// # Errors
/// As for [`write_store`].
pub fn write_shards(folder: &Path, store: &dyn TensorStore, shard_bytes: usize) -> Result<(), WeightError> {
    let mut shards: Vec<Vec<&str>> = vec![Vec::new()];
    let (mut filled, mut total) = (0, 0);
    for (name, info) in store.tensors() {
        let size = bytes(info);
        if filled > 0 && filled + size > shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += size;
        total += size;
        if let Some(shard) = shards.last_mut() {
            shard.push(name);
        }
    }
    if shards.len() == 1 {
        return write_store(&folder.join(LAYOUT.single), store);
    }
    let mut weight_map = serde_json::Map::new();
    for (number, names) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", number + 1, shards.len());
        write_some(&folder.join(&file), store, names)?;
        weight_map.extend(names.iter().map(|name| ((*name).to_owned(), file.clone().into())));
    }
    let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    whole_or_not(&folder.join(LAYOUT.index), |file| {
        Ok(file.write_all(format!("{index:#}\n").as_bytes())?)
    })
}

fn write_some(path: &Path, store: &dyn TensorStore, names: &[&str]) -> Result<(), WeightError> {
    let infos = names
        .iter()
        .map(|name| (*name, store.tensors()[*name].clone()))
        .collect();
    // What `transformers` wants to read there.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write(path, infos, metadata, &mut |name| {
        store.read(name).map(Cow::Owned)
    })
}

fn bytes(info: &TensorInfo) -> usize {
    info.shape.iter().product::<usize>() * info.dtype.size()
}

fn write<'a>(
    path: &Path,
    mut infos: Vec<(&str, TensorInfo)>,
    metadata: HashMap<String, String>,
    read: &mut dyn FnMut(&str) -> Result<Cow<'a, TensorData>, WeightError>,
) -> Result<(), WeightError> {
    // The widest formats first, so that every tensor is aligned to its own.
    infos.sort_by(|(a, left), (b, right)| (right.dtype.size(), a).cmp(&(left.dtype.size(), b)));
    let mut end = 0;
    let entries = infos
        .iter()
        .map(|(name, info)| {
            let dtype = safetensors_dtype(info.dtype).ok_or_else(|| {
                WeightError::format(path, FORMAT, format!("`{name}` holds {:?}", info.dtype))
            })?;
            let start = end;
            end += bytes(info);
            let entry = Entry {
                dtype,
                shape: info.shape.clone(),
                data_offsets: (start, end),
            };
            Ok(((*name).to_owned(), entry))
        })
        .collect::<Result<Vec<_>, WeightError>>()?;
    let unfit = |reason: String| WeightError::format(path, FORMAT, reason);
    let header = Metadata::new(Some(metadata), entries).map_err(|error| unfit(error.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| unfit(error.to_string()))?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    whole_or_not(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (name, info) in &infos {
            let data = read(name)?;
            let values = data.as_bytes();
            if values.len() != bytes(info) {
                let reason = format!("`{name}` has {} bytes, not {}", values.len(), bytes(info));
                return Err(unfit(reason).into());
            }
            file.write_all(values)?;
        }
        Ok(())
    })
}

/// Why a file could not be written.
pub(super) enum Failure {
    /// The disk.
    Disk(std::io::Error),
    /// What was to be written.
    Source(WeightError),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<WeightError> for Failure {
    fn from(error: WeightError) -> Self {
        Self::Source(error)
    }
}

/// Lets `fill` write a sibling of `path`, flushes it to disk and renames it; where that fails, nothing is left of it.
pub(super) fn whole_or_not(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), WeightError> {
    let partial = path.with_extension("partial");
    let written = File::create(&partial)
        .map_err(Failure::from)
        .and_then(|mut file| {
            fill(&mut file)?;
            Ok(file.sync_all()?)
        })
        .and_then(|()| Ok(std::fs::rename(&partial, path)?));
    written.map_err(|failure| {
        // The error to report is the write's; a leftover that cannot be removed adds nothing to it.
        let _ = std::fs::remove_file(&partial);
        match failure {
            Failure::Disk(source) => WeightError::Io {
                action: "write",
                path: path.to_owned(),
                source,
            },
            Failure::Source(error) => error,
        }
    })
}

fn safetensors_dtype(dtype: DType) -> Option<Dtype> {
    match dtype {
        DType::F64 => Some(Dtype::F64),
        DType::F32 | DType::Flex32 => Some(Dtype::F32),
        DType::F16 => Some(Dtype::F16),
        DType::BF16 => Some(Dtype::BF16),
        DType::I64 => Some(Dtype::I64),
        DType::I32 => Some(Dtype::I32),
        DType::I8 => Some(Dtype::I8),
        DType::U8 => Some(Dtype::U8),
        _ => None,
    }
}
