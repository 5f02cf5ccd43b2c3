//! A data set with texts that are not its own: those that other files have for its keys, as CapFilt writes them.

use std::path::Path;

use serde_json::Value;

use super::cache::Cache;
use super::json::Texts;
use super::parquet::{Columns, TEXTS};
use super::records::lines;
use super::texts_by_key::{Entry, TextsByKey};
use super::{Annotation, DataSpec, Dataset, Report, Sample, SampleError, SetError, paths, reason};

/// A data set and the texts of its samples.
struct Captioned {
    inner: Box<dyn Dataset>,
    texts: TextsByKey,
}

/// Gives the samples of `inner` the texts that `path` has for their keys: a Parquet file with the columns `key` and `caption` or
/// `captions`, JSON lines with the same fields, or a folder of them. A key may come several times. Lines of `blip2 caption --data
/// --out` are such lines: they call the key `image`, and those with an `error` have no text. Lines of `blip2 capfilt` have the `index` of
/// their sample: one key with two of them stands for two pictures, and is refused.
pub(super) fn open(
    inner: Box<dyn Dataset>,
    path: &Path,
    cache: Option<&Cache>,
) -> Result<Box<dyn Dataset>, SetError> {
    let files = DataSpec::new("captions", path.to_string_lossy());
    let files = paths::files(&files, &[".parquet", ".jsonl"])?;
    let texts = TextsByKey::open(&files, cache, |file, each| {
        match file.extension().is_some_and(|end| end == "jsonl") {
            true => from_lines(file, each),
            false => from_columns(file, each),
        }
    })?;
    Ok(Box::new(Captioned { inner, texts }))
}

/// Takes what a file has, one after another.
type Each<'each> = &'each mut dyn FnMut(Entry) -> Result<(), SetError>;

fn from_columns(path: &Path, each: Each) -> Result<(), SetError> {
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
            each(Entry {
                key,
                index: None,
                texts: words(texts)?,
            })?;
        }
    }
    Ok(())
}

fn from_lines(path: &Path, each: Each) -> Result<(), SetError> {
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
        each(Entry {
            key,
            index,
            texts: texts.0,
        })
    })
}

impl Captioned {
    fn texts_of(&self, key: &str) -> Result<Vec<String>, SampleError> {
        let texts = self.texts.get(key);
        match texts.is_empty() {
            false => Ok(texts),
            true => Err(SampleError {
                key: key.to_owned(),
                reason: reason::NO_CAPTIONS,
                problem: "the file of captions has none for this key".into(),
            }),
        }
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
        let texts = self.texts_of(&sample.key)?;
        Ok(Sample { texts, ..sample })
    }

    fn annotation(&self, index: u64) -> Result<Annotation, SampleError> {
        let annotation = self.inner.annotation(index)?;
        let texts = self.texts_of(&annotation.key)?;
        Ok(Annotation { texts, ..annotation })
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
