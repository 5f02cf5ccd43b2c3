//! What the configurations of all families share: reading a `config.json`, and sizes that can be believed.

use std::path::Path;

use blip2_core::weights::WeightError;
use serde::de::DeserializeOwned;

/// No size of a model comes near; products of a few of them stay far from overflowing.
pub(crate) const LARGEST: usize = 1 << 24;
/// Layers are laid out before the weights are looked for, so that their number must be believable by itself.
pub(crate) const MOST_LAYERS: usize = 1024;

/// Reads the `config.json` at `file` and turns it into a configuration; `format` is how errors call the file.
///
/// # Errors
/// [`WeightError`] where the file cannot be read or understood, or `resolve` gives a reason against it.
pub(crate) fn read_config<Raw: DeserializeOwned, Config>(
    file: &Path,
    format: &'static str,
    resolve: impl FnOnce(Raw) -> Result<Config, String>,
) -> Result<Config, WeightError> {
    let text = std::fs::read_to_string(file).map_err(|source| WeightError::Io {
        action: "read",
        path: file.to_owned(),
        source,
    })?;
    serde_json::from_str(&text)
        .map_err(|error| error.to_string())
        .and_then(resolve)
        .map_err(|reason| WeightError::Format {
            path: file.to_owned(),
            format,
            reason,
        })
}

/// # Errors
/// The reason against the first of `sizes` (name, size, limit) that is 0 or above its limit.
pub(crate) fn check_sizes(sizes: &[(&str, usize, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size, limit)| *size == 0 || size > limit) {
        Some((name, size, limit)) => Err(format!("the {name} is {size}; it must lie between 1 and {limit}")),
        None => Ok(()),
    }
}
