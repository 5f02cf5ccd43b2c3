//! Reference scores: files of a known form, and objects in the order of their file, which carries meaning in it.

use std::fmt;
use std::marker::PhantomData;

use blip2_golden::find;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

/// The reference scores in `file`, if the folder that is proved has them.
pub(crate) fn scores<Content: DeserializeOwned>(file: &str) -> Option<Content> {
    let path = find(file)?;
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}")))
}

/// A JSON object whose order counts.
pub(crate) struct Ordered<Value>(pub(crate) Vec<(String, Value)>);

impl<'de, Value: Deserialize<'de>> Deserialize<'de> for Ordered<Value> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

struct InOrder<Value>(PhantomData<Value>);

impl<'de, Value: Deserialize<'de>> Visitor<'de> for InOrder<Value> {
    type Value = Ordered<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<Self::Value, Map::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Ordered(entries))
    }
}
