//! How a data set is named: `format:path#key=value,...` on a command line, or a `[[data]]` entry of a TOML file.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{FilterSpec, SetError};

/// Which data set, and how it is read. Paths are relative to the folder in which the program was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// What logs and counts call it; absent: `format:path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The format, by its name in [`Formats`](super::Formats).
    pub format: String,
    /// A file, a folder, a glob, or several of them by braces: `{00000..00331}.tar`, `{train,val}.json`.
    pub path: String,
    /// Folders with the pictures, searched one after the other; absent: the folder of the annotations.
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub images: Vec<PathBuf>,
    /// A second file, where a format lies in two: the answers to a file of questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<PathBuf>,
    /// A part of the set, several by `+`: `train+restval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The column or field with the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The column or field with the text, or with a list of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The column or field that names the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is dropped from the beginning of the names of pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<String>,
    /// Whether pictures may lie outside of `images`, by an absolute name or by `..`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// Texts by key, in place of the data set's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<PathBuf>,
    /// What texts of this set follow in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Share of a mixture; absent: by size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// What is kept out.
    #[serde(default, skip_serializing_if = "FilterSpec::is_empty")]
    pub filter: FilterSpec,
}

/// The keys that may follow `#`.
const KEYS: &str = "name, images, annotations, split, image, text, key, strip, outside, captions, prompt, weight, words, aspect, list, \
                    similarity, scores";

impl DataSpec {
    /// The data set of `format` at `path`, with nothing else said.
    pub fn new(format: &str, path: impl Into<String>) -> Self {
        Self {
            format: format.to_owned(),
            path: path.into(),
            ..Self::default()
        }
    }

    /// What logs and counts call it.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.to_string())
    }

    /// The parts that `split` names; empty where it names none.
    pub fn splits(&self) -> Vec<&str> {
        let splits = self.split.iter().flat_map(|split| split.split('+'));
        splits.map(str::trim).filter(|split| !split.is_empty()).collect()
    }

    /// Which of the parts in `counts` are meant. Where there are several, one must be named: nobody trains on a test part by
    /// forgetting a word.
    ///
    /// # Errors
    /// Where none is named, or one that there is not.
    pub(super) fn choose_splits<Name: Borrow<str> + Ord>(
        &self,
        counts: &BTreeMap<Name, u64>,
    ) -> Result<Vec<String>, SetError> {
        let wanted = self.splits();
        let known = || -> String {
            let parts = counts.iter();
            let parts = parts.map(|(name, count)| format!("{} ({count})", name.borrow()));
            parts.collect::<Vec<_>>().join(", ")
        };
        if let Some(unknown) = wanted.iter().find(|split| !counts.contains_key(**split)) {
            return Err(self.error(format!("it has no part `{unknown}`, but {}", known())));
        }
        match (wanted.is_empty(), counts.len()) {
            (true, 0 | 1) => Ok(counts.keys().map(|name| name.borrow().to_owned()).collect()),
            (true, _) => Err(self.error(format!(
                "say by `split` which part is meant, several by `+`: it has {}",
                known()
            ))),
            (false, _) => Ok(wanted.into_iter().map(str::to_owned).collect()),
        }
    }

    /// Something is wrong with what was asked for.
    pub fn error(&self, problem: impl ToString) -> SetError {
        SetError::Spec {
            spec: self.to_string(),
            problem: problem.to_string(),
        }
    }

    /// All that `text` names: one data set as `format:path#key=value,...`, or those in the `[[data]]` entries of a TOML file.
    ///
    /// # Errors
    /// [`SetError`] where it is neither, or names no data set.
    pub fn all(text: &str) -> Result<Vec<Self>, SetError> {
        if !text.ends_with(".toml") {
            return Ok(vec![text.parse()?]);
        }
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            data: Vec<DataSpec>,
        }
        let path = Path::new(text);
        let content = fs::read_to_string(path).map_err(SetError::reading(path))?;
        let file: File = toml::from_str(&content).map_err(|error| SetError::malformed(path, error))?;
        if file.data.is_empty() {
            return Err(SetError::malformed(path, "it has no [[data]] entry"));
        }
        Ok(file.data)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match key {
            "name" => self.name = text(),
            "images" => self.images.push(value.into()),
            "annotations" => self.annotations = Some(value.into()),
            "split" => self.split = text(),
            "image" => self.image = text(),
            "text" => self.text = text(),
            "key" => self.key = text(),
            "strip" => self.strip = text(),
            "outside" => self.outside = parsed(key, value, "true or false")?,
            "captions" => self.captions = Some(value.into()),
            "prompt" => self.prompt = text(),
            "weight" => self.weight = Some(parsed(key, value, "a number")?),
            "words" => {
                let range = value.split_once('-').unwrap_or((value, value));
                let number = |text| parsed(key, text, "a number of words, or two as `3-50`");
                self.filter.words = Some([number(range.0)?, number(range.1)?]);
            }
            "aspect" => self.filter.aspect = Some(parsed(key, value, "a number")?),
            "list" => self.filter.list = Some(value.into()),
            "similarity" => self.filter.similarity = Some(parsed(key, value, "a number")?),
            "scores" => self.filter.scores = Some(value.into()),
            _ => return Err(format!("`{key}` is no key; behind `#` stand {KEYS}")),
        }
        Ok(())
    }
}

fn parsed<T: FromStr>(key: &str, value: &str, what: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("`{key}` is {what}, not `{value}`"))
}

impl FromStr for DataSpec {
    type Err = SetError;

    fn from_str(text: &str) -> Result<Self, SetError> {
        let wrong = |problem: String| SetError::Spec {
            spec: text.to_owned(),
            problem,
        };
        let (format, rest) = text
            .split_once(':')
            .filter(|(format, _)| !format.is_empty() && !format.contains(['/', '\\']))
            .ok_or_else(|| {
                wrong("write `format:path`, such as `folder:photos`, or name a .toml file".into())
            })?;
        let (path, options) = rest.split_once('#').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err(wrong("no path stands behind the colon".into()));
        }
        let mut spec = Self::new(format, path);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| wrong(format!("`{option}` should be `key=value`")))?;
            spec.set(key, value).map_err(wrong)?;
        }
        Ok(spec)
    }
}

/// `format:path`, without what else is said.
impl Display for DataSpec {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.format, self.path)
    }
}

/// A string, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a folder or a list of folders")]
    enum Folders {
        One(PathBuf),
        Many(Vec<PathBuf>),
    }
    Ok(match Folders::deserialize(deserializer)? {
        Folders::One(folder) => vec![folder],
        Folders::Many(folders) => folders,
    })
}
