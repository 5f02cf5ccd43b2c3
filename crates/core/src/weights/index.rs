//! In which file of a folder each tensor stands: all in one, or in the shards that an index names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::WeightError;
use crate::files;

const FORMAT: &str = "shard index";

/// How a folder of `transformers` names the files of one format.
pub(super) struct Layout {
    /// All weights in one file.
    pub(super) single: &'static str,
    /// Or the index of several.
    pub(super) index: &'static str,
}

impl Layout {
    /// Whether `folder` holds weights of this format.
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        [self.single, self.index]
            .iter()
            .any(|name| folder.join(name).is_file())
    }

    /// The weight files of `path`: itself, where it is a file; else those in the folder.
    pub(super) fn files(&self, path: &Path) -> Result<Vec<PathBuf>, WeightError> {
        let single = path.join(self.single);
        if !path.is_dir() {
            Ok(vec![path.to_owned()])
        } else if single.is_file() {
            Ok(vec![single])
        } else {
            shards(&path.join(self.index), path)
        }
    }
}

/// The shards that `index` names, each a plain file name inside of `folder`.
fn shards(index: &Path, folder: &Path) -> Result<Vec<PathBuf>, WeightError> {
    let text = files::read(index).map_err(|source| WeightError::Io {
        action: "read",
        path: index.to_owned(),
        source,
    })?;
    let parsed: Index =
        serde_json::from_slice(&text).map_err(|error| WeightError::format(index, FORMAT, error))?;
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
                    index,
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
