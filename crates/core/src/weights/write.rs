//! Writing safetensors so that a file exists whole or not at all.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, TensorView};

use super::WeightError;

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
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let dtype = safetensors_dtype(data.dtype()).ok_or_else(|| {
                WeightError::format(path, "safetensors", format!("`{name}` holds {:?}", data.dtype()))
            })?;
            let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes())
                .map_err(|error| WeightError::format(path, "safetensors", error))?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, WeightError>>()?;
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| WeightError::format(path, "safetensors", error))?;
    let partial = path.with_extension("partial");
    let written = File::create(&partial)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|source| {
        // The error to report is the write's; a leftover that cannot be removed adds nothing to it.
        let _ = std::fs::remove_file(&partial);
        WeightError::Io {
            action: "write",
            path: path.to_owned(),
            source,
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
        _ => None,
    }
}
