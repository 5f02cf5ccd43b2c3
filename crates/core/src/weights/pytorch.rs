//! Files that `torch.save` wrote, such as the checkpoints of LAVIS. Their pickle is parsed, never executed.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use pytorch_reader::{PytorchError, PytorchReader};

use super::{TensorInfo, TensorStore, WeightError};

const FORMAT: &str = "PyTorch";
/// Where LAVIS puts the weights, beside the state of the run.
const WEIGHTS: &str = "model";

/// The tensors of a `.pth`: those under its key `model` where it has one, as LAVIS writes it, else all.
pub struct PytorchStore {
    path: PathBuf,
    reader: PytorchReader,
    tensors: BTreeMap<String, TensorInfo>,
}

impl PytorchStore {
    /// Opens a file of `torch.save`, reading names and shapes alone.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the system refuses; [`WeightError::Format`] where the file is damaged or holds no tensor.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let reader = match PytorchReader::with_top_level_key(path, WEIGHTS) {
            Err(PytorchError::KeyNotFound(_)) => PytorchReader::new(path),
            opened => opened,
        };
        let reader = reader.map_err(|error| match error {
            PytorchError::Io(source) => unreadable(path, source),
            other => WeightError::format(path, FORMAT, other),
        })?;
        if reader.is_empty() {
            return Err(WeightError::format(path, FORMAT, "it holds no tensor"));
        }
        let tensors = reader.tensors().iter().map(|(name, tensor)| {
            // As in safetensors: a scalar reads as one value.
            let shape = match tensor.shape() {
                [] => vec![1],
                shape => shape.to_vec(),
            };
            let dtype = dtype(tensor.dtype());
            (name.clone(), TensorInfo { dtype, shape })
        });
        Ok(Self {
            path: path.to_owned(),
            tensors: tensors.collect(),
            reader,
        })
    }
}

impl TensorStore for PytorchStore {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let (Some(tensor), Some(info)) = (self.reader.get(name), self.tensors.get(name)) else {
            return Err(WeightError::Absent {
                file: self.label(),
                name: name.to_owned(),
            });
        };
        let bytes = tensor.read().map_err(|error| unreadable(&self.path, error))?;
        TensorData::try_from_bytes_vec(bytes, info.shape.clone(), info.dtype)
            .map_err(|error| WeightError::format(&self.path, FORMAT, error))
    }
}

/// What the file contradicts itself in is its format; all else is the system's.
fn unreadable(path: &Path, source: Error) -> WeightError {
    match source.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => WeightError::format(path, FORMAT, source),
        _ => WeightError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        },
    }
}

fn dtype(dtype: pytorch_reader::DType) -> DType {
    match dtype {
        pytorch_reader::DType::F64 => DType::F64,
        pytorch_reader::DType::F32 => DType::F32,
        pytorch_reader::DType::F16 => DType::F16,
        pytorch_reader::DType::BF16 => DType::BF16,
        pytorch_reader::DType::I64 => DType::I64,
        pytorch_reader::DType::I32 => DType::I32,
        pytorch_reader::DType::I16 => DType::I16,
        pytorch_reader::DType::I8 => DType::I8,
        pytorch_reader::DType::U64 => DType::U64,
        pytorch_reader::DType::U32 => DType::U32,
        pytorch_reader::DType::U16 => DType::U16,
        // A truth is a byte of 0 or 1.
        pytorch_reader::DType::U8 | pytorch_reader::DType::Bool => DType::U8,
    }
}
