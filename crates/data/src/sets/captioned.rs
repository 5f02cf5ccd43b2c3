//! A data set with texts that are not its own: those that other files have for its keys, as CapFilt writes them.

use std::path::Path;

use serde_json::Value;

use super::json::Texts;
use super::parquet::{Columns, TEXTS};
use super::records::lines;
use super::rows::{Row, Rows};
use super::{DataSpec, Dataset, Report, Sample, SampleError, SetError, paths, reason};

/// A data set and the texts of its samples, in the order of keys.
struct Captioned {
    inner: Box<dyn Dataset>,
    texts: Rows,
}

/// Gives the samples of `inner` the texts that `path` has for their keys: a Parquet file with the columns `key` and `caption` or
/// `captions`, JSON lines with the same fields, or a folder of them. A key may come several times. Lines of `blip2 caption --data
/// --out` are such lines: they call the key `image`, and those with an `error` have no text. Lines of `blip2 capfilt` have the `index` of
/// their sample: one key with two of them stands for two pictures, and is refused.
pub(super) fn open(inner: Box<dyn Dataset>, path: &Path) -> Result<Box<dyn Dataset>, SetError> {
    let mut entries: Vec<Entry> = Vec::new();
    let files = DataSpec::new("captions", path.to_string_lossy());
    for file in paths::files(&files, &[".parquet", ".jsonl"])? {
        match file.extension().is_some_and(|end| end == "jsonl") {
            true => from_lines(&file, &mut entries)?,
            false => from_columns(&file, &mut entries)?,
        }
    }
    entries.sort_by(|left, right| left.key.cmp(&right.key));
    let mut texts = Rows::default();
    for own in entries.chunk_by_mut(|left, right| left.key == right.key) {
        let mut indices = own.iter().filter_map(|entry| entry.index);
        let first = indices.next();
        if let (Some(first), Some(other)) = (first, indices.find(|index| Some(*index) != first)) {
            let problem = format!(
                "the key {} is that of two pictures, number {first} and number {other}: a caption would stand for the wrong one; give \
                 pictures names of their own in the data set, and filter it again",
                own[0].key
            );
            return Err(SetError::malformed(path, problem));
        }
        texts.push(&Row {
            key: own[0].key.clone(),
            texts: own.iter_mut().flat_map(|entry| entry.texts.drain(..)).collect(),
            ..Row::default()
        });
    }
    Ok(Box::new(Captioned { inner, texts }))
}

/// The texts of a key.
struct Entry {
    key: String,
    /// Which sample it is, where the file says so.
    index: Option<u64>,
    texts: Vec<String>,
}

fn from_columns(path: &Path, entries: &mut Vec<Entry>) -> Result<(), SetError> {
    let columns = Columns::open(path)?;
    let text = TEXTS.iter().find_map(|name| columns.find(name));
    let (Some(key), Some(text)) = (columns.find("key"), text) else {
        let (wanted, names) = (TEXTS.join(", "), columns.names().join(", "));
        let problem = format!("it should have the column key and one of {wanted}; there are {names}");
        return Err(SetError::malformed(path, problem));
    };
    for (group, count) in columns.groups.iter().enumerate() {
        let wrong = |problem: String| SetError::malformed_at(path, &format!("row group {group}"), problem);
        let read = |leaf| {
            let cells = columns.read(group, leaf, 0, *count as usize);
            cells.map_err(|error| wrong(error.to_string()))
        };
        for (key, texts) in read(key)?.into_iter().zip(read(text)?) {
            let words = |cell: Vec<std::sync::Arc<[u8]>>| -> Result<Vec<String>, SetError> {
                let texts = cell.iter().map(|bytes| String::from_utf8(bytes.to_vec()));
                texts
                    .collect::<Result<_, _>>()
                    .map_err(|error| wrong(error.to_string()))
            };
            let key = words(key)?.pop().ok_or_else(|| wrong("a key is null".into()))?;
            entries.push(Entry {
                key,
                index: None,
                texts: words(texts)?,
            });
        }
    }
    Ok(())
}

fn from_lines(path: &Path, entries: &mut Vec<Entry>) -> Result<(), SetError> {
    lines(path, |place, _, mut entry| {
        let key = entry.remove("key").or_else(|| entry.remove("image"));
        if entry.contains_key("error") {
            return Ok(());
        }
        let index = entry.get("index").and_then(Value::as_u64);
        let text = TEXTS.iter().find_map(|name| entry.remove(*name));
        let texts = text.and_then(|text| serde_json::from_value::<Texts>(text).ok());
        let (Some(Value::String(key)), Some(texts)) = (key, texts) else {
            let problem = format!("it should have `key` and one of {}, texts both", TEXTS.join(", "));
            return Err(SetError::malformed_at(path, &format!("line {place}"), problem));
        };
        entries.push(Entry {
            key,
            index,
            texts: texts.0,
        });
        Ok(())
    })
}

impl Captioned {
    fn texts(&self, key: &str) -> Option<Vec<String>> {
        let (mut low, mut high) = (0, self.texts.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.texts.get(middle)?;
            match row.key.as_str().cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(row.texts),
            }
        }
        None
    }
}

impl Dataset for Captioned {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn runs(&self) -> Vec<u64> {
        self.inner.runs()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let sample = self.inner.read(index)?;
        match self.texts(&sample.key).filter(|texts| !texts.is_empty()) {
            Some(texts) => Ok(Sample { texts, ..sample }),
            None => Err(SampleError {
                key: sample.key,
                reason: reason::NO_CAPTIONS,
                problem: "the file of captions has none for this key".into(),
            }),
        }
    }

    fn key(&self, index: u64) -> Result<String, SampleError> {
        self.inner.key(index)
    }

    fn keeps_out(&self, reason: &str) -> bool {
        self.inner.keeps_out(reason)
    }

    fn fingerprint(&self) -> String {
        format!("{}+{}", self.inner.fingerprint(), self.texts.fingerprint())
    }

    fn reports(&self) -> Vec<Report> {
        self.inner.reports()
    }
}
