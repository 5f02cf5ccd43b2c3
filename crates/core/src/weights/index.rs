//! `model.safetensors.index.json`: in which file of a folder each tensor stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::WeightError;
use super::safetensors::INDEX;

const FORMAT: &str = "shard index";

/// The shards that the index of `folder` names, each a plain file name inside of it.
pub(super) fn shards(folder: &Path) -> Result<Vec<PathBuf>, WeightError> {
    let index = folder.join(INDEX);
    let text = std::fs::read_to_string(&index).map_err(|source| WeightError::Io {
        action: "read",
        path: index.clone(),
        source,
    })?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|error| WeightError::format(&index, FORMAT, error))?;
    let mut names: Vec<String> = parsed.weight_map.0.into_values().collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let mut parts = Path::new(&name).components();
            match (parts.next(), parts.next()) {
                (Some(Component::Normal(_)), None) => Ok(folder.join(name)),
                _ => Err(WeightError::format(
                    &index,
                    FORMAT,
                    format!("shard `{name}` points out of the folder"),
                )),
            }
        })
        .collect()
}

#[derive(Deserialize)]
struct Index {
    weight_map: Once,
}

/// Each tensor's file. A tensor that is named twice is an error: a plain map would keep the last and say nothing.
struct Once(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Once;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of tensors and their files")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<Once, Map::Error> {
        let mut files = BTreeMap::new();
        while let Some((tensor, file)) = map.next_entry::<String, String>()? {
            let name = tensor.clone();
            if files.insert(tensor, file).is_some() {
                return Err(Map::Error::custom(format!("tensor `{name}` stands in it twice")));
            }
        }
        Ok(Once(files))
    }
}
