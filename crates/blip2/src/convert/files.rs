//! The files of a conversion.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use blip2_core::weights::{SHARD_BYTES, TensorStore, WeightError, write_pytorch, write_shards, write_store};

use crate::Blip2Error;

/// Where LAVIS keeps the weights in a checkpoint, beside the state of the run.
const WEIGHTS: &str = "model";
/// What a checkpoint is called in a folder of its own.
const CHECKPOINT: &str = "model.pth";

/// The checkpoint at `path`, and the folder that it stands in: a file, or a folder that [`convert_to_lavis`] wrote.
///
/// [`convert_to_lavis`]: super::convert_to_lavis
pub(super) fn checkpoint(path: &Path) -> (PathBuf, PathBuf) {
    if path.is_dir() {
        return (path.join(CHECKPOINT), path.to_owned());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    (path.to_owned(), folder.unwrap_or(Path::new(".")).to_owned())
}

/// Writes a LAVIS checkpoint: a file, as `torch.save` does where the name of `out` ends in `.pth`, as safetensors where it so
/// ends; else a folder with such a file, beside copies of all that `like` holds but weights.
pub(super) fn write_checkpoint(out: &Path, store: &dyn TensorStore, like: &Path) -> Result<(), Blip2Error> {
    match out.extension().and_then(OsStr::to_str) {
        Some("pth") => Ok(write_pytorch(out, WEIGHTS, store)?),
        Some("safetensors") => Ok(write_store(out, store)?),
        _ => write_beside_copies(out, like, || write_pytorch(&out.join(CHECKPOINT), WEIGHTS, store)),
    }
}

/// Writes `store` as the weights of the new folder `out` of `transformers`, beside copies of all that `like` holds but weights.
pub(crate) fn write_folder(out: &Path, store: &dyn TensorStore, like: &Path) -> Result<(), Blip2Error> {
    write_beside_copies(out, like, || write_shards(out, store, SHARD_BYTES))
}

/// Lets `weights` fill the new folder `out`, and copies all that `like` holds but weights: tokenizer, processor, and last the
/// configuration, so that what is interrupted is no model.
fn write_beside_copies(
    out: &Path,
    like: &Path,
    weights: impl FnOnce() -> Result<(), WeightError>,
) -> Result<(), Blip2Error> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Blip2Error::Io { action, path, source }
    };
    if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        let full = std::io::Error::other("it is not empty; give a new folder");
        return Err(io("write to", out)(full));
    }
    std::fs::create_dir_all(out).map_err(io("create", out))?;
    let mut files = Vec::new();
    copies(like, out, &mut files).map_err(io("read", like))?;
    files.sort_by_key(|(from, _)| from.file_name() == Some(OsStr::new("config.json")));
    weights()?;
    for (from, to) in files {
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        }
        std::fs::copy(&from, &to).map_err(io("copy", &from))?;
    }
    Ok(())
}

/// What is to be copied from `folder` to `out`, folders within (an InstructBLIP's second tokenizer) included.
fn copies(folder: &Path, out: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> std::io::Result<()> {
    const WEIGHTS: [&str; 5] = ["safetensors", "bin", "pth", "pt", "h5"];
    for entry in std::fs::read_dir(folder)? {
        let from = entry?.path();
        let Some(name) = from.file_name() else {
            continue;
        };
        let to = out.join(name);
        let text = name.to_string_lossy();
        let weights =
            WEIGHTS.iter().any(|kind| text.ends_with(&format!(".{kind}"))) || text.ends_with(".index.json");
        if from.is_dir() && !text.starts_with('.') {
            copies(&from, &to, files)?;
        } else if !weights && !from.is_dir() {
            files.push((from, to));
        }
    }
    Ok(())
}
