//! The folder of golden data, and objects in the order of their file, which carries meaning in it.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

/// `metrics/{name}` of the folder that BLIP2_GOLDEN names, or of the repository's copy.
pub(crate) fn metrics<Content: DeserializeOwned>(name: &str) -> Content {
    let folder = std::env::var_os("BLIP2_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")),
        PathBuf::from,
    );
    let path = folder.join("metrics").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
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
