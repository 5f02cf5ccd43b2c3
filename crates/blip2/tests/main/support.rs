//! Folders that `transformers` wrote, and copies of them with something changed.

use std::fs;
use std::path::Path;

use blip2::{Blip2, Blip2Error, DecodeOptions, RgbImage, open_picture};
use blip2_golden::device;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn load(folder: &Path) -> Result<Blip2, Blip2Error> {
    Blip2::from_pretrained(folder, Path::new("no home is needed"), &device())
}

pub(crate) fn picture(folder: &Path, name: &Value) -> RgbImage {
    open_picture(&folder.join(name.as_str().unwrap()), DecodeOptions::as_stored()).unwrap()
}

/// A copy of the model in `folder`, without what was recorded of it.
pub(crate) fn copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_into(folder, copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_into(&source, &target);
        } else if entry.file_name() != "expected.safetensors" {
            fs::write(target, fs::read(source).unwrap()).unwrap();
        }
    }
}

/// What the configuration classes of `transformers` hold by themselves, by `model_type`.
pub(crate) fn recorded_defaults() -> Value {
    serde_json::from_str(include_str!("../data/config-defaults.json")).unwrap()
}

/// An error with its causes, one a line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("\n{error}");
        cause = error.source();
    }
    text
}

/// Changes a JSON file.
pub(crate) fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut content);
    fs::write(file, content.to_string()).unwrap();
}
