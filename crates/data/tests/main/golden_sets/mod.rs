//! Data sets as the tools of the field write and read them (`data`): every sample in its order, texts word for word, pictures
//! pixel by pixel, and what is left out with its reason.

mod captions;
mod questions;
mod tables;

use std::collections::BTreeSet;
use std::path::PathBuf;

use blip2_data::sets::{DataSpec, Dataset, OpenOptions, Picture, Sample, SampleError, open};
use blip2_golden::{Check, find, json};
use serde_json::{Map, Value};

use crate::golden_data::pictures::{Cells, sha256};

/// A folder of `data`, and what is expected of it.
struct Folder {
    /// Relative to the golden folder.
    name: String,
    expected: Value,
}

impl Folder {
    /// `data/NAME`; `None` where the folder that is proved lacks it.
    fn find(name: &str) -> Option<Self> {
        let name = format!("data/{name}");
        // A golden folder may have some of them alone, the repository's own too.
        if !golden(&name).exists() {
            return None;
        }
        let expected = json(&format!("{name}/expected.json"))?;
        Some(Self { name, expected })
    }

    /// The path of a file relative to this folder, which then counts as read.
    fn path(&self, file: &str) -> PathBuf {
        let file = self.relative(file);
        find(&file).unwrap_or_else(|| panic!("{file} is absent"))
    }

    /// The name of a file relative to the golden folder.
    fn relative(&self, file: &str) -> String {
        let mut parts: Vec<&str> = self.name.split('/').collect();
        for part in file.split('/') {
            match part {
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    /// A data set of this folder: `format` of `file`, with pictures in `images` where they lie elsewhere.
    fn spec(&self, format: &str, file: &str, images: &str) -> DataSpec {
        DataSpec {
            images: vec![golden(&self.relative(images))],
            ..DataSpec::new(format, self.path(file).display().to_string())
        }
    }

    fn check(&self, below: &str) -> Check {
        Check::new(self.relative(below).trim_end_matches('/'))
    }
}

/// The path of what need not be read itself: a folder.
fn golden(relative: &str) -> PathBuf {
    blip2_golden::root().join(relative)
}

fn opened(spec: &DataSpec) -> Box<dyn Dataset> {
    opened_with(spec, &OpenOptions::default())
}

fn opened_with(spec: &DataSpec, options: &OpenOptions) -> Box<dyn Dataset> {
    open(spec, options).unwrap_or_else(|error| panic!("{error}"))
}

/// All samples, and what is wrong with the others: at its index when it is read, by its key when the set was opened.
struct Contents {
    samples: Vec<Sample>,
    /// The index of each sample.
    indices: Vec<u64>,
    errors: Vec<(u64, SampleError)>,
    /// Keys and reasons.
    left_out: Vec<(String, String)>,
}

impl Contents {
    /// Reads and decodes everything.
    fn of(set: &dyn Dataset) -> Self {
        let mut contents = Self {
            samples: Vec::new(),
            indices: Vec::new(),
            errors: Vec::new(),
            left_out: Vec::new(),
        };
        for index in 0..set.len() {
            let sample = set.read(index).and_then(|sample| {
                sample.picture.decode(&sample.key)?;
                Ok(sample)
            });
            match sample {
                Ok(sample) => {
                    assert_eq!(
                        set.key(index).ok().as_ref(),
                        Some(&sample.key),
                        "a key without its picture"
                    );
                    contents.samples.push(sample);
                    contents.indices.push(index);
                }
                Err(error) => contents.errors.push((index, error)),
            }
        }
        let reports = set.reports().into_iter();
        contents.left_out = reports
            .map(|report| (report.key.unwrap_or_default(), report.reason))
            .collect();
        assert!(set.read(set.len()).is_err(), "there is a sample behind the last");
        assert_eq!(set.runs().iter().sum::<u64>(), set.len());
        contents
    }

    fn texts(&self) -> Vec<&[String]> {
        self.samples
            .iter()
            .map(|sample| sample.texts.as_slice())
            .collect()
    }

    fn image_ids(&self) -> Vec<String> {
        let ids = self.samples.iter().map(|sample| sample.image_id.clone());
        ids.map(Option::unwrap_or_default).collect()
    }

    fn keys(&self) -> Vec<String> {
        self.samples.iter().map(|sample| sample.key.clone()).collect()
    }

    /// Keys and reasons of all that is no sample, whenever that was found, sorted.
    fn skipped(&self) -> Vec<(String, String)> {
        let errors = self.errors.iter();
        let errors = errors.map(|(_, error)| (error.key.clone(), error.reason.to_owned()));
        let mut all: Vec<_> = errors.chain(self.left_out.iter().cloned()).collect();
        all.sort();
        all
    }
}

/// Compares the picture of each sample with what is expected under `image`, and its bytes with those of the file.
fn compare_pictures<'all>(
    check: &mut Check,
    what: &str,
    pairs: impl Iterator<Item = (&'all Sample, &'all Value)>,
) {
    let cells = Cells::open();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (sample, expected) in pairs {
        let image = &expected["image"];
        if image.is_null() {
            continue;
        }
        if let Picture::Encoded(bytes) = &sample.picture {
            ours.push(sha256(bytes));
            theirs.push(word(&image["bytes_sha256"]));
        }
        let picture = sample.picture.decode(&sample.key).expect("decoded before");
        cells.check(check, &format!("{what}/{}", sample.key), &picture, image);
    }
    check.identical(&format!("bytes/{what}"), &ours, &theirs);
}

/// Compares pictures with those in the samples of `expected`, each file under the folder that it lies in.
fn compare_files(folder: &Folder, contents: &Contents, expected: &[Value]) {
    let folder_of = |sample: &Value| {
        let file = folder.relative(text(&sample["file"]));
        find(&file).unwrap_or_else(|| panic!("{file} is absent"));
        file.rsplit_once('/')
            .map_or(String::new(), |(folder, _)| folder.to_owned())
    };
    let folders: Vec<String> = expected.iter().map(folder_of).collect();
    assert_eq!(contents.samples.len(), expected.len(), "{}: samples", folder.name);
    for own in folders.iter().collect::<BTreeSet<_>>() {
        let among = contents.samples.iter().zip(expected).zip(&folders);
        let among = among.filter(|(_, folder)| *folder == own).map(|(pair, _)| pair);
        compare_pictures(&mut Check::new(own), "pictures", among);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}

/// A text or number as we write it; nothing for null.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The fields `field` of `samples`, as words.
fn words(samples: &[Value], field: &str) -> Vec<String> {
    samples.iter().map(|sample| word(&sample[field])).collect()
}

/// All texts of a field: one, or a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(texts) => texts.iter().map(word).collect(),
        text => vec![word(text)],
    }
}

/// Keys, in `field`, and reasons of what is expected to be no sample, sorted.
fn skipped(expected: &Value, field: &str) -> Vec<(String, String)> {
    let skipped = list(expected).iter();
    let mut skipped: Vec<_> = skipped
        .map(|entry| (word(&entry[field]), word(&entry["reason"])))
        .collect();
    skipped.sort();
    skipped
}
