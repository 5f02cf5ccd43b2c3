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
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "expected.safetensors" {
            fs::write(
                copy.path().join(entry.file_name()),
                fs::read(entry.path()).unwrap(),
            )
            .unwrap();
        }
    }
    copy
}

/// Changes a JSON file.
pub(crate) fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut content);
    fs::write(file, content.to_string()).unwrap();
}
