//! Weights as they are found: in which format, the content decides.

use std::path::Path;

use super::index::Layout;
use super::{
    GgufStore, OnnxStore, PytorchStore, SafetensorsStore, TensorStore, WeightError, pytorch, safetensors,
};
use crate::files;

/// A file of `torch.save` is a zip; before 2020 it was a row of bare pickles, of which each begins with its protocol.
const TORCH: [&[u8]; 2] = [b"PK", b"\x80"];
/// A safetensors file begins with the length of its header, eight bytes, and the header with this.
const HEADER: u8 = b'{';

/// Opens the weights at `path`: a file of safetensors or of `torch.save`, or a folder of `transformers` with one or shards of
/// either. Where a folder holds both, safetensors is read.
///
/// # Errors
/// [`WeightError::NoWeights`] for a folder without them; [`WeightError::Io`] or [`WeightError::Format`], with the file at fault.
pub fn open_weights(path: &Path) -> Result<Box<dyn TensorStore>, WeightError> {
    let pickled = match path.is_dir() {
        true => in_folder(path)?,
        false => is_of_torch(path)?,
    };
    Ok(match pickled {
        true => Box::new(PytorchStore::open(path)?),
        false => Box::new(SafetensorsStore::open(path)?),
    })
}

/// As [`open_weights`], and files of GGUF, and, which have no mark of their own, files called `.onnx`.
///
/// # Errors
/// As for [`open_weights`].
pub fn open_any(path: &Path) -> Result<Box<dyn TensorStore>, WeightError> {
    if path.is_dir() {
        return open_weights(path);
    }
    let start = start_of(path)?;
    Ok(if start.starts_with(&GgufStore::MAGIC) {
        Box::new(GgufStore::open(path)?)
    } else if path.extension().is_some_and(|extension| extension == "onnx") {
        Box::new(OnnxStore::open(path)?)
    } else {
        open_weights(path)?
    })
}

/// Whether the weights of `folder` are those of `torch.save`.
fn in_folder(folder: &Path) -> Result<bool, WeightError> {
    const LAYOUTS: [&Layout; 2] = [&safetensors::LAYOUT, &pytorch::LAYOUT];
    match LAYOUTS.iter().position(|layout| layout.is_in(folder)) {
        Some(found) => Ok(found == 1),
        None => Err(WeightError::NoWeights {
            folder: folder.to_owned(),
            looked_for: LAYOUTS
                .iter()
                .flat_map(|layout| [layout.single, layout.index])
                .collect(),
        }),
    }
}

fn is_of_torch(file: &Path) -> Result<bool, WeightError> {
    let start = start_of(file)?;
    Ok(start.last() != Some(&HEADER) && TORCH.iter().any(|magic| start.starts_with(magic)))
}

/// The first nine bytes, which tell what a file is.
fn start_of(file: &Path) -> Result<Vec<u8>, WeightError> {
    files::read_start(file, 9).map_err(|source| WeightError::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })
}
