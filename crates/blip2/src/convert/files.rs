//! The files of a conversion.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use blip2_core::weights::{SHARD_BYTES, TensorStore, WeightError, write_pytorch, write_shards, write_store};

use serde_json::Value;

use super::instruction::{Instruction, text};
use crate::Blip2Error;
use crate::hugging_face::CONFIG;

/// Where LAVIS keeps the weights in a checkpoint, beside the state of the run.
const WEIGHTS: &str = "model";
/// Files that say how large pictures are, and what kind of model and processor this is.
const TELLING: [&str; 4] = [
    CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
];
/// What a checkpoint is called in a folder of its own.
const CHECKPOINT: &str = "model.pth";

/// What a new folder says otherwise than the one that it is like.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changes<'a> {
    /// Height and width of pictures in pixels.
    pub(crate) side: Option<usize>,
    /// How its Q-Former reads texts.
    pub(crate) instruction: Option<&'a Instruction>,
}

impl Changes<'_> {
    /// What becomes of the file `from` of that folder, which is called `name` in the new one; `None` where it stays.
    fn rewritten(&self, name: &str, from: &Path) -> std::io::Result<Option<Vec<u8>>> {
        if !TELLING.contains(&name) {
            return Ok(None);
        }
        let content = std::fs::read(from)?;
        let Some(mut file) = serde_json::from_slice(&content).ok().filter(Value::is_object) else {
            return Ok(None);
        };
        let resized = self.side.is_some_and(|side| resize(&mut file, side));
        let instructed = self
            .instruction
            .is_some_and(|instruction| instruction.rewrite(name, &mut file));
        Ok((resized || instructed).then(|| text(&file)))
    }

    /// Files of the new folder, by their place in it, that are not copied from `like`.
    fn files(&self, like: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, Blip2Error> {
        self.instruction
            .map_or(Ok(Vec::new()), |instruction| instruction.files(like))
    }
}

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
        _ => write_beside_copies(out, like, Changes::default(), || {
            write_pytorch(&out.join(CHECKPOINT), WEIGHTS, store)
        }),
    }
}

/// Writes `store` as the weights of the new folder `out` of `transformers`, beside all that `like` holds but weights, with `changes`.
pub(crate) fn write_folder(
    out: &Path,
    store: &dyn TensorStore,
    like: &Path,
    changes: Changes<'_>,
) -> Result<(), Blip2Error> {
    write_beside_copies(out, like, changes, || write_shards(out, store, SHARD_BYTES))
}

/// Copies the low-rank updates in the folder `from`, where it is there.
pub(super) fn copy_adapter(from: &Path, to: &Path) -> Result<(), Blip2Error> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Blip2Error::Io { action, path, source }
    };
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(to).map_err(io("create", to))?;
    for entry in std::fs::read_dir(from).map_err(io("read", from))? {
        let file = entry.map_err(io("read", from))?;
        std::fs::copy(file.path(), to.join(file.file_name())).map_err(io("copy", &file.path()))?;
    }
    Ok(())
}

/// Lets the configuration of a model, or of a processor, be for pictures of `side` pixels; whether it says anything of them.
fn resize(config: &mut Value, side: usize) -> bool {
    let mut changed = false;
    if let Some(vision) = config.get_mut("vision_config").and_then(Value::as_object_mut) {
        vision.insert("image_size".to_owned(), side.into());
        changed = true;
    }
    for path in ["/size", "/image_processor/size"] {
        if let Some(size) = config.pointer_mut(path) {
            *size = serde_json::json!({ "height": side, "width": side });
            changed = true;
        }
    }
    changed
}

/// Lets `weights` fill the new folder `out`, and copies all that `like` holds but weights, with `changes`: tokenizer, processor, and
/// last the configuration, so that what is interrupted is no model.
fn write_beside_copies(
    out: &Path,
    like: &Path,
    changes: Changes<'_>,
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
    let own = changes.files(like)?;
    std::fs::create_dir_all(out).map_err(io("create", out))?;
    let mut files = Vec::new();
    copies(like, out, &mut files).map_err(io("read", like))?;
    files.retain(|(_, to)| own.iter().all(|(name, _)| *to != out.join(name)));
    files.sort_by_key(|(from, _)| from.file_name() == Some(OsStr::new(CONFIG)));
    weights()?;
    let beside = |to: &Path| match to.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(io("create", folder)),
        None => Ok(()),
    };
    for (name, content) in own {
        let to = out.join(name);
        beside(&to)?;
        std::fs::write(&to, content).map_err(io("write", &to))?;
    }
    for (from, to) in files {
        beside(&to)?;
        // Files of the same names within folders are those of other parts.
        let name = to
            .strip_prefix(out)
            .ok()
            .and_then(Path::to_str)
            .unwrap_or_default();
        match changes.rewritten(name, &from).map_err(io("read", &from))? {
            None => drop(std::fs::copy(&from, &to).map_err(io("copy", &from))?),
            Some(content) => std::fs::write(&to, content).map_err(io("write", &to))?,
        }
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
