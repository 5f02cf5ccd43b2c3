//! What all families share in reading a Hugging Face folder: its `config.json`, sizes that can be believed, and weights
//! that may stand in a larger model's file.

use std::path::Path;

use blip2_core::files;
use blip2_core::weights::{TensorStore, Views, WeightError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Where a model of several parts keeps the language model's configuration and weights.
const CONFIG: &str = "text_config";
const PREFIX: &str = "language_model.";
/// Models of several parts, by their `model_type`, and the family of those that do not say it.
const WHOLE: [&str; 2] = ["blip-2", "instructblip"];
const DEFAULT_FAMILY: &str = "opt";

/// No size of a model comes near; products of a few of them stay far from overflowing.
pub(crate) const LARGEST: usize = 1 << 24;
/// Layers are laid out before the weights are looked for, so that their number must be believable by itself.
pub(crate) const MOST_LAYERS: usize = 1024;

/// Reads the `config.json` at `file`, or its `text_config`, and turns it into a configuration; `format` is how errors call
/// the file.
///
/// # Errors
/// [`WeightError`] where the file cannot be read or understood, or `resolve` gives a reason against it.
pub(crate) fn read_config<Raw: DeserializeOwned, Config>(
    file: &Path,
    format: &'static str,
    resolve: impl FnOnce(Raw) -> Result<Config, String>,
) -> Result<Config, WeightError> {
    let text = files::read(file).map_err(|source| WeightError::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text)
        .and_then(|config| serde_json::from_value(nested(config)))
        .map_err(|error| error.to_string())
        .and_then(resolve)
        .map_err(|reason| WeightError::Format {
            path: file.to_owned(),
            format,
            reason,
        })
}

/// For a key that may be absent, which is something else than one that says `null`.
pub(crate) fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The configuration of the language model in a `config.json`: its `text_config`, where it has one. What a BLIP-2 leaves out of
/// it, the family or all, is that of OPT, as in `transformers`.
pub(crate) fn nested(mut config: Value) -> Value {
    let whole = config["model_type"]
        .as_str()
        .is_some_and(|family| WHOLE.contains(&family));
    let text = config.get_mut(CONFIG).map(Value::take);
    let mut text = match text.filter(|text| !text.is_null()) {
        Some(text) => text,
        None if whole => Value::Object(Map::new()),
        None => return config,
    };
    if let Some(object) = text.as_object_mut().filter(|_| whole) {
        object
            .entry("model_type")
            .or_insert_with(|| DEFAULT_FAMILY.into());
    }
    text
}

/// The language model's tensors in `store`: all of them, or those below `language_model.`.
pub(crate) fn language_model(store: &dyn TensorStore) -> Views<'_> {
    let nested = store.tensors().keys().any(|name| name.starts_with(PREFIX));
    Views::below(store, if nested { PREFIX } else { "" })
}

/// # Errors
/// The reason against the first of `sizes` (name, size, limit) that is 0 or above its limit.
pub(crate) fn check_sizes(sizes: &[(&str, usize, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size, limit)| *size == 0 || size > limit) {
        Some((name, size, limit)) => Err(format!("the {name} is {size}; it must lie between 1 and {limit}")),
        None => Ok(()),
    }
}
