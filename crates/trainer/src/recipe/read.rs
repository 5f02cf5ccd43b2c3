//! A recipe on disk: one TOML file, with overrides, in which no key is passed over.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainError;

/// A recipe: everything that decides a run. [`Recipe`](crate::Recipe) is the trainer's own; a program that trains on something
/// else has its own sections beside [`StageRecipe`](crate::StageRecipe) and its like.
pub trait RecipeFile: Serialize + DeserializeOwned {
    /// What of the values cannot work, with the key at fault.
    ///
    /// # Errors
    /// A sentence for the person who wrote the recipe.
    fn check(&self) -> Result<(), String>;

    /// Reads `file` and applies `overrides` such as `stage1.steps=100`, or `data.0.path=shards.tar` in a list.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with the file and the key at fault.
    fn read(file: &Path, overrides: &[String]) -> Result<Self, TrainError> {
        let refuse = |reason: String| TrainError::Recipe {
            path: file.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
        let mut table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| refuse(error.to_string()))?;
        for assignment in overrides {
            set(&mut table, assignment).map_err(refuse)?;
        }
        let given = table.clone();
        let recipe: Self = table
            .try_into()
            .map_err(|error: toml::de::Error| refuse(error.to_string()))?;
        let known = toml::Table::try_from(&recipe).map_err(|error| refuse(error.to_string()))?;
        for key in not_told(&given, &known) {
            // Left out for being the default, or passed over: then it may hold anything.
            let mut other = given.clone();
            put(&mut other, &key, toml::Value::Datetime(NO_VALUE));
            if Self::deserialize(other).is_ok() {
                return Err(refuse(format!("`{}` is no key of a recipe", key.join("."))));
            }
        }
        recipe.check().map_err(refuse)?;
        Ok(recipe)
    }

    /// The resolved recipe as TOML.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] where a value has no TOML form.
    fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(self).map_err(|error| TrainError::Recipe {
            path: "recipe.toml".into(),
            reason: error.to_string(),
        })
    }
}

/// What no key of a recipe takes: none has a date.
const NO_VALUE: toml::value::Datetime = toml::value::Datetime {
    date: Some(toml::value::Date {
        year: 1970,
        month: 1,
        day: 1,
    }),
    time: None,
    offset: None,
};

/// Keys of `given` that `known` lacks: those left out because they say what holds without them, and those passed over, as sections
/// pass over theirs that are also read from Hugging Face's files.
fn not_told(given: &toml::Table, known: &toml::Table) -> Vec<Vec<String>> {
    let mut keys = Vec::new();
    for (key, value) in given {
        match (value, known.get(key)) {
            (_, None) => keys.push(vec![key.clone()]),
            (toml::Value::Table(given), Some(toml::Value::Table(known))) => {
                let inner = not_told(given, known).into_iter();
                keys.extend(inner.map(|inner| [vec![key.clone()], inner].concat()));
            }
            _ => {}
        }
    }
    keys
}

/// Puts `value` at `path`, whose sections are there.
fn put(table: &mut toml::Table, path: &[String], value: toml::Value) {
    match path {
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            if let Some(section) = table.get_mut(section).and_then(toml::Value::as_table_mut) {
                put(section, rest, value);
            }
        }
        [] => {}
    }
}

/// `a.b.c=value`, the value as TOML writes it; a bare word is a string, and a number in the path a place in a list.
fn set(table: &mut toml::Table, assignment: &str) -> Result<(), String> {
    let (path, value) = assignment
        .split_once('=')
        .ok_or_else(|| format!("`{assignment}` is not of the form key=value"))?;
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys = path.trim().split('.').peekable();
    let mut place = table;
    while let Some(key) = keys.next() {
        let lost = || format!("`{path}`: the recipe has no section `{key}`");
        let index = keys.peek().and_then(|next| next.parse::<usize>().ok());
        if keys.peek().is_none() {
            place.insert(key.to_owned(), value);
            return Ok(());
        }
        let inner = place.get_mut(key).ok_or_else(lost)?;
        place = match (inner, index) {
            (toml::Value::Table(inner), _) => inner,
            (toml::Value::Array(list), Some(index)) => {
                keys.next();
                list.get_mut(index)
                    .and_then(toml::Value::as_table_mut)
                    .ok_or_else(lost)?
            }
            _ => return Err(lost()),
        };
    }
    Err(format!("`{path}` names a place in a list, not a key"))
}

#[cfg(test)]
mod tests {
    use super::set;

    #[test]
    fn overrides_reach_nested_keys_and_keep_types() {
        let mut table: toml::Table = "a = 1\n[b]\nc = 2.5\n[b.d]\ne = 'x'".parse().expect("toml");
        set(&mut table, "b.d.e=word").expect("string");
        set(&mut table, "b.c=3.5").expect("float");
        set(&mut table, "a=7").expect("integer");
        assert_eq!(table["b"]["d"]["e"].as_str(), Some("word"));
        assert_eq!(table["b"]["c"].as_float(), Some(3.5));
        assert_eq!(table["a"].as_integer(), Some(7));
        assert!(set(&mut table, "nowhere.x=1").unwrap_err().contains("nowhere"));
        assert!(set(&mut table, "a").is_err());
    }
}
