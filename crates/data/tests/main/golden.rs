//! Where the reference outputs lie and how they are read.

use safetensors::SafeTensors;
use std::path::PathBuf;

/// The golden folder: the repository's own, or the one `BLIP2_GOLDEN` names.
pub(crate) fn folder(part: &str) -> PathBuf {
    let root = std::env::var_os("BLIP2_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")),
        PathBuf::from,
    );
    root.join(part)
}

pub(crate) fn json(path: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(folder(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The bytes of a safetensors file; parse with [`tensors`].
pub(crate) fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(folder(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn tensors(bytes: &[u8]) -> SafeTensors<'_> {
    SafeTensors::deserialize(bytes).expect("a golden file is well-formed")
}

pub(crate) fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let view = tensors
        .tensor(name)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    view.data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}
