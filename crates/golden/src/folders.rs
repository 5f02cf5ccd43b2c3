//! Where reference data lies, and what of it there is. Nothing is found by a size or a number that our code would have to
//! know: models by the architecture that their `config.json` names, other files by their pattern.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::log::{Line, ROOT};
use crate::{Check, TensorFile};

/// The golden folder: the one that `BLIP2_GOLDEN` names, else the repository's own.
pub fn root() -> PathBuf {
    std::env::var_os(ROOT).map_or_else(|| fixture(""), PathBuf::from)
}

/// The file or folder `relative` to the repository's own golden folder, whichever folder is proved: something real for tests
/// of other things.
pub fn fixture(relative: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(relative)
}

/// The repository's own folder must have everything; another may have a part of it.
fn is_own() -> bool {
    std::env::var_os(ROOT).is_none()
}

/// The file or folder `relative` to the golden folder, which then counts as read. `None` where a folder that is not the
/// repository's own lacks it: then there is nothing to prove.
///
/// # Panics
/// Where the repository's own folder lacks it.
pub fn find(relative: &str) -> Option<PathBuf> {
    let path = root().join(relative);
    if path.exists() {
        Line::read(relative).append();
        return Some(path);
    }
    assert!(!is_own(), "{} is absent", path.display());
    None
}

/// The content of the JSON file `relative` to the golden folder; `None` as in [`find`].
///
/// # Panics
/// Where the file is no JSON, and as in [`find`].
pub fn json(relative: &str) -> Option<Value> {
    find(relative).map(|path| parse(&path))
}

/// What stands between `prefix` and `suffix` in the names of files relative to the golden folder, sorted: for
/// `lavis/stage1_` and `_io.safetensors` the encoders of the recorded runs.
///
/// # Panics
/// Where the repository's own folder has none.
pub fn variants(prefix: &str, suffix: &str) -> Vec<String> {
    let (folder, start) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let found: Vec<String> = entries(&root().join(folder))
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .filter_map(|name| name.strip_prefix(start)?.strip_suffix(suffix))
        .map(str::to_owned)
        .collect();
    assert!(
        !found.is_empty() || !is_own(),
        "{}/{prefix}*{suffix}: there is none",
        root().display()
    );
    found
}

/// A folder with a model of the reference implementation and what it computes.
pub struct Model {
    /// Its path relative to the golden folder, with slashes.
    pub name: String,
    /// The folder itself.
    pub path: PathBuf,
    /// Its `config.json`.
    pub config: Value,
}

impl Model {
    /// The inputs and outputs in `expected.safetensors`.
    ///
    /// # Panics
    /// Where the folder has none.
    pub fn expected(&self) -> TensorFile {
        TensorFile::open(&format!("{}/expected.safetensors", self.name))
    }

    /// A JSON file of the folder, such as `cases.json`.
    ///
    /// # Panics
    /// Where the folder does not have it.
    pub fn json(&self, file: &str) -> Value {
        let path = self.path.join(file);
        Line::read(&format!("{}/{file}", self.name)).append();
        parse(&path)
    }

    /// A comparison with this model.
    pub fn check(&self) -> Check {
        Check::new(&self.name)
    }
}

/// All models whose `config.json` names the architecture, such as `OPTForCausalLM`, sorted by name.
///
/// # Panics
/// Where the repository's own folder has none, or a configuration is no JSON.
pub fn models(architecture: &str) -> Vec<Model> {
    let mut found = Vec::new();
    collect(&root(), "", architecture, &mut found);
    assert!(
        !found.is_empty() || !is_own(),
        "{} holds no {architecture}",
        root().display()
    );
    for model in &found {
        Line::read(&model.name).append();
    }
    found
}

fn collect(folder: &Path, name: &str, architecture: &str, found: &mut Vec<Model>) {
    let file = folder.join("config.json");
    if file.is_file() {
        let config = parse(&file);
        if architectures(&config).any(|own| own == architecture) {
            found.push(Model {
                name: name.to_owned(),
                path: folder.to_owned(),
                config,
            });
        }
    }
    for path in entries(folder).into_iter().filter(|path| path.is_dir()) {
        let below = path.file_name().unwrap_or_default().to_string_lossy();
        let below = match name {
            "" => below.into_owned(),
            _ => format!("{name}/{below}"),
        };
        collect(&path, &below, architecture, found);
    }
}

/// Whether `folder` is that of a model: has a `config.json` that names an architecture.
pub fn is_model(folder: &Path) -> bool {
    let file = folder.join("config.json");
    file.is_file() && architectures(&parse(&file)).next().is_some()
}

fn architectures(config: &Value) -> impl Iterator<Item = &str> {
    let named = config["architectures"].as_array();
    named.into_iter().flatten().filter_map(Value::as_str)
}

/// What lies in `folder`, sorted; nothing where it does not exist.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = listing
        .map(|entry| {
            entry
                .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
                .path()
        })
        .collect();
    paths.sort();
    paths
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(path: &Path) -> Value {
    serde_json::from_slice(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
