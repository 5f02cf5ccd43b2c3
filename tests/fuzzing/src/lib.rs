//! Every reader of other people's files as a function of bytes, for whoever makes up bytes: `cargo fuzz` (`fuzz/`), and the bounded loop
//! of this package's tests.
//!
//! A target reads what it is given to the end, as a program would, and forgets the result: that the bytes are refused is fine, that
//! something panics, hangs, or takes memory without measure is not.

mod pictures;
mod sets;
mod texts;
mod weights;

use std::fs;
use std::path::Path;

pub use pictures::pictures;
pub use sets::{annotations, parquet, shards, tables};
pub use texts::{configurations, recipes, results, sentencepiece, tokenizer_json, vocabularies};
pub use weights::{FEATURES_KEY, features, gguf, onnx, pickles, safetensors, shard_index};

/// A reader of bytes.
pub type Target = fn(&[u8]);

/// All of them, by the names that they have as targets of `cargo fuzz`.
pub const TARGETS: &[(&str, Target)] = &[
    ("annotations", annotations),
    ("configurations", configurations),
    ("features", features),
    ("gguf", gguf),
    ("onnx", onnx),
    ("parquet", parquet),
    ("pickles", pickles),
    ("pictures", pictures),
    ("recipes", recipes),
    ("results", results),
    ("safetensors", safetensors),
    ("sentencepiece", sentencepiece),
    ("shard_index", shard_index),
    ("shards", shards),
    ("tables", tables),
    ("tokenizer_json", tokenizer_json),
    ("vocabularies", vocabularies),
];

/// Gives `read` a folder with `files` in it.
///
/// # Panics
/// Where the disk refuses: that is no finding, but nothing can be found then.
fn in_folder(files: &[(&str, &[u8])], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a folder to write to");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("a disk with room");
    }
    read(folder.path());
}
