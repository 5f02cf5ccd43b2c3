//! Files with one entry for each sample whose fields people name as they like: JSON lines, CSV, and the `metadata` of folders
//! of pictures.

use std::path::Path;

use serde_json::{Map, Value};

use super::annotated::{Annotated, Listing};
use super::parquet::TEXTS;
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, Question, SetError, csv, json, lavis, reason};

/// Fields that name the file of a picture.
const PICTURES: [&str; 7] = [
    "image",
    "file_name",
    "filename",
    "image_path",
    "path",
    "file",
    "img",
];
/// Fields that name an entry.
const KEYS: [&str; 4] = ["key", "id", "question_id", "__key__"];

/// A sample a line.
pub(super) fn open_lines(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".jsonl"], |spec, path, listing| {
        let fields = Fields::of(spec, &PICTURES);
        lines(path, |place, number, entry| {
            fields.push(listing, (path, place), number, entry)
        })
    })
}

/// A sample a record.
pub(super) fn open_csv(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".csv"], |spec, path, listing| {
        let fields = Fields::of(spec, &PICTURES);
        table(path, |place, number, entry| {
            fields.push(listing, (path, place), number, entry)
        })
    })
}

/// Hands each line of `path` to `each`, with where it stands and its number.
pub(super) fn lines(
    path: &Path,
    mut each: impl FnMut(u64, u64, Map<String, Value>) -> Result<(), SetError>,
) -> Result<(), SetError> {
    let map = json::map(path)?;
    let bytes = map.as_deref().unwrap_or_default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut number = 0;
    for (place, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let entry = serde_json::from_slice(line).map_err(|error| {
            let column = format!("line {place}, column {}", error.column());
            SetError::malformed_at(path, &column, format!("no JSON object: {error}"))
        })?;
        each(place, number, entry)?;
        number += 1;
    }
    Ok(())
}

/// Hands each record of `path` to `each`, with the line that it begins in and its number. What is written is what is meant:
/// neither an empty field nor `NaN` is null.
pub(super) fn table(
    path: &Path,
    mut each: impl FnMut(u64, u64, Map<String, Value>) -> Result<(), SetError>,
) -> Result<(), SetError> {
    let map = json::map(path)?;
    let bytes = map.as_deref().unwrap_or_default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        SetError::malformed_at(path, &format!("line {line}"), error)
    })?;
    let mut header: Option<Vec<String>> = None;
    let mut number = 0;
    csv::records(text, |place, record| {
        let Some(names) = &header else {
            header = Some(record.into_iter().map(str::to_owned).collect());
            return Ok(());
        };
        if names.len() != record.len() {
            let (wanted, found) = (names.len(), record.len());
            let problem = format!("{found} fields under {wanted} names");
            return Err(SetError::malformed_at(path, &format!("line {place}"), problem));
        }
        let values = record.into_iter().map(Value::from);
        each(place, number, names.iter().cloned().zip(values).collect())?;
        number += 1;
        Ok(())
    })
}

/// Which fields are read.
pub(super) struct Fields<'spec> {
    pictures: Vec<&'spec str>,
    texts: Vec<&'spec str>,
    keys: Vec<&'spec str>,
    /// What stands before the names of pictures, and whether these are the keys of entries without one.
    folder: Option<&'spec str>,
}

impl<'spec> Fields<'spec> {
    /// Those that `spec` names; else those of `pictures` and the usual ones.
    pub(super) fn of(spec: &'spec DataSpec, pictures: &[&'spec str]) -> Self {
        let asked = |asked: &'spec Option<String>, usual: &[&'spec str]| match asked {
            Some(name) => vec![name.as_str()],
            None => usual.to_vec(),
        };
        Self {
            pictures: asked(&spec.image, pictures),
            texts: asked(&spec.text, &TEXTS),
            keys: asked(&spec.key, &KEYS),
            folder: None,
        }
    }

    /// The same for pictures in `folder`, whose names are keys.
    pub(super) fn within(self, folder: &'spec str) -> Self {
        Self {
            folder: Some(folder),
            ..self
        }
    }

    /// A sample of `entry`, the one of that `number` that stands at line `place` of `path`; or why there is none.
    pub(super) fn push(
        &self,
        listing: &mut Listing,
        (path, place): (&Path, u64),
        number: u64,
        mut entry: Map<String, Value>,
    ) -> Result<(), SetError> {
        let wrong = |problem: String| SetError::malformed_at(path, &format!("line {place}"), problem);
        let among = |names: &[&str], entry: &Map<String, Value>| {
            let there = names.iter().find(|name| entry.contains_key(**name));
            there.map(|name| (*name).to_owned())
        };
        let lacks = |what: &str, names: &[&str], option: &str, entry: &Map<String, Value>| {
            let there: Vec<&str> = entry.keys().map(String::as_str).collect();
            let (names, there) = (names.join(", "), there.join(", "));
            wrong(format!(
                "no field of {what} ({names}): name it by `{option}`; there are {there}"
            ))
        };
        let field = among(&self.pictures, &entry)
            .ok_or_else(|| lacks("pictures", &self.pictures, "image", &entry))?;
        let Some(Value::String(mut picture)) = entry.remove(&field) else {
            return Err(wrong(format!("`{field}` should be the name of a file")));
        };
        if let Some(folder) = self.folder.filter(|folder| !folder.is_empty()) {
            picture = format!("{folder}/{picture}");
        }
        let key = match among(&self.keys, &entry).filter(|_| self.folder.is_none()) {
            Some(field) => {
                word(&entry[&field]).ok_or_else(|| wrong(format!("`{field}` should be text or a number")))?
            }
            None if self.folder.is_some() => picture.clone(),
            None => number.to_string(),
        };
        let question = match entry.get("question") {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        let texts = among(&self.texts, &entry);
        if texts.is_none() && question.is_none() && !listing.textless {
            if number == 0 {
                return Err(lacks("texts", &self.texts, "text", &entry));
            }
            listing.leave_out(key, reason::NO_TEXT);
            return Ok(());
        }
        let texts = texts.map_or(Value::Array(Vec::new()), |field| {
            entry.remove(&field).unwrap_or_default()
        });
        if texts.is_null() && question.is_none() && !listing.textless {
            listing.leave_out(key, reason::TEXT_NULL);
            return Ok(());
        }
        let answers = entry.remove("answers").or_else(|| entry.remove("answer"));
        listing.push(&Row {
            picture,
            texts: words(texts),
            question: question.map(|text| Question {
                id: key.clone(),
                text,
                answers: lavis::tally(answers.map(words).unwrap_or_default()),
            }),
            image_id: entry.get("image_id").and_then(word),
            key,
        });
        Ok(())
    }
}

/// A text, or a number as it is written.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text, or all of a list.
fn words(value: Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().filter_map(word).collect(),
        value => word(&value).into_iter().collect(),
    }
}
