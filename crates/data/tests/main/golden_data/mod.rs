//! Data sets as the tools that are in use write them (`data`): each sample, each text, each picture, and what is skipped why.

mod archives;
pub(crate) mod pictures;
mod sums;

use std::path::PathBuf;

use blip2_golden::{json, root};
use serde_json::Value;

/// The folder `name` of the golden data sets with its `expected.json`; nothing where it is absent, for then there is nothing to
/// prove.
fn part(name: &str) -> Option<(PathBuf, Value)> {
    let folder = root().join("data").join(name);
    let is_there = folder.is_dir();
    is_there
        .then(|| json(&format!("data/{name}/expected.json")))
        .flatten()
        .map(|expected| (folder, expected))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A text, or a list of them.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(texts) => texts.iter().map(|value| text(value).to_owned()).collect(),
        one => vec![text(one).to_owned()],
    }
}
