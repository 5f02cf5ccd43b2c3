//! Files that `torch.save` wrote: `pytorch_model.bin` of older models, the checkpoints of LAVIS. Their pickle is parsed, never
//! executed.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use pytorch_reader::{PytorchError, PytorchReader, Tensor};

use super::index::Layout;
use super::shards::Shards;
use super::{TensorInfo, TensorStore, WeightError};
use crate::files;

const FORMAT: &str = "PyTorch";
/// How a folder keeps them.
pub(super) const LAYOUT: Layout = Layout {
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
};
/// Where training programs put the weights, beside the state of the run: LAVIS, and most others.
const WEIGHTS: [&str; 3] = ["model", "state_dict", "model_state_dict"];
/// What wrappers put in front of every name: `DistributedDataParallel`, and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of a file of `torch.save`, or of the shards in a folder: those under its key `model`, `state_dict` or
/// `model_state_dict` where it has one, else all; without the prefix of a wrapper that all names begin with.
pub struct PytorchStore(Shards<Pickled>);

struct Pickled {
    path: PathBuf,
    tensors: BTreeMap<String, TensorInfo>,
    values: BTreeMap<String, Tensor>,
}

impl PytorchStore {
    /// Opens a file of `torch.save`, or a folder with `pytorch_model.bin` or its index, reading names and shapes alone.
    ///
    /// # Errors
    /// [`WeightError::Io`] where the system refuses; [`WeightError::Format`] where a file is damaged or holds no tensor.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let files = LAYOUT.files(path)?.into_iter().map(Pickled::open);
        let files = files.collect::<Result<_, _>>()?;
        Shards::join(path.display().to_string(), FORMAT, files).map(Self)
    }
}

impl TensorStore for PytorchStore {
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

impl Pickled {
    fn open(path: PathBuf) -> Result<Self, WeightError> {
        files::read_start(&path, 0).map_err(|error| unreadable(&path, error))?;
        let reader = weights(&path).map_err(|error| match error {
            PytorchError::Io(source) => unreadable(&path, source),
            PytorchError::Pickle(error) => WeightError::format(
                &path,
                FORMAT,
                format!(
                    "{error}; where `torch.load` takes the file, save the weights alone: torch.save(model.state_dict(), ...)"
                ),
            ),
            other => WeightError::format(&path, FORMAT, other),
        })?;
        if reader.is_empty() {
            return Err(WeightError::format(&path, FORMAT, "it holds no tensor"));
        }
        let values = unwrapped(reader.into_tensors().into_iter().collect());
        let tensors = values.iter().map(|(name, tensor)| {
            // As in safetensors: a scalar reads as one value.
            let shape = match tensor.shape() {
                [] => vec![1],
                shape => shape.to_vec(),
            };
            let dtype = dtype(tensor.dtype());
            (name.clone(), TensorInfo { dtype, shape })
        });
        Ok(Self {
            tensors: tensors.collect(),
            path,
            values,
        })
    }
}

/// The file at `path` from where it keeps its weights.
fn weights(path: &Path) -> Result<PytorchReader, PytorchError> {
    let mut problem = None;
    for key in WEIGHTS {
        match PytorchReader::with_top_level_key(path, key) {
            Ok(reader) if reader.is_empty() => {}
            Ok(reader) => return Ok(reader),
            Err(PytorchError::KeyNotFound(_)) => {}
            // `model` may be the model's name, with the weights under another key.
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    match problem {
        Some(error) => Err(error),
        None => PytorchReader::new(path),
    }
}

/// The same tensors without the prefixes of wrappers.
fn unwrapped(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    while let Some(wrapper) = WRAPPERS
        .iter()
        .find(|wrapper| tensors.keys().all(|name| name.starts_with(**wrapper)))
    {
        let short = |(name, tensor): (String, Tensor)| (name[wrapper.len()..].to_owned(), tensor);
        tensors = tensors.into_iter().map(short).collect();
    }
    tensors
}

impl TensorStore for Pickled {
    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        let (Some(tensor), Some(info)) = (self.values.get(name), self.tensors.get(name)) else {
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
