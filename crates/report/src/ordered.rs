//! A list of names and values as a JSON object that keeps their order.

use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::Serializer;
use serde_json::Value;

/// Writes the pairs as an object.
pub(crate) fn serialize<S: Serializer>(pairs: &[(String, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

/// Reads an object of numbers and texts; a name that comes twice is an error.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, Value)>, D::Error> {
    deserializer.deserialize_map(Pairs)
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object of figures")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut map: Map) -> Result<Self::Value, Map::Error> {
        let mut pairs = Vec::<(String, Value)>::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Map::Error::custom(format!(
                    "the figure {name:?} stands there twice"
                )));
            }
            pairs.push((name, value));
        }
        Ok(pairs)
    }
}
