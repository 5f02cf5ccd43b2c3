//! Files made to break a reader, each a change of a model that loads. All must end in an error that names the file, without
//! a panic, with at most 64 MB on the heap, and with nothing run.

mod architectures;
mod headers;
mod indexes;
mod meter;
mod pickles;
mod vocabularies;

use std::fs;
use std::path::Path;

use blip2_golden::fixture;
use serde_json::Value;
use tempfile::TempDir;

/// A copy of the golden folder `name` that a test may damage.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(fixture(name)).expect("a golden folder") {
        let path = entry.expect("an entry").path();
        let to = folder.path().join(path.file_name().expect("a name"));
        fs::copy(&path, to).expect("a copy");
    }
    folder
}

/// Changes the JSON in `file`.
fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    change(&mut json);
    fs::write(file, json.to_string()).expect("writing");
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
