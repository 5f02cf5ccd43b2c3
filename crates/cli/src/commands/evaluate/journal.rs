//! What was found of each unit of an evaluation, a line each, so that a run that was broken off goes on where it was.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::units::Unit;
use crate::exclusive;
use crate::model::named;
use crate::part::Part;

const SETTINGS: &str = "evaluation.json";

/// A line: the sample that has the unit's picture, what names the unit, and what was found or why nothing was.
#[derive(Serialize, Deserialize)]
struct Line<Found> {
    #[serde(alias = "unit")]
    sample: u64,
    key: String,
    #[serde(flatten)]
    outcome: Outcome<Found>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<Found> {
    Found(Found),
    Error(String),
}

/// All that was found of each unit, by its place, or why nothing was.
pub(super) type Known<Found> = BTreeMap<usize, Result<Found, String>>;

/// The lines of one part, open to be gone on with.
pub(super) struct Journal<Found> {
    path: PathBuf,
    file: File,
    found: PhantomData<Found>,
}

impl<Found: Serialize + DeserializeOwned> Journal<Found> {
    /// The lines of `name` and `part` in `folder`. What a killed run left half-written is cut off.
    pub(super) fn open(folder: &Path, name: &str, part: Part) -> Result<Self> {
        let path = folder.join(format!("{name}-{}.jsonl", part.to_string().replace('/', "-of-")));
        let mut file = exclusive::open(&path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .with_context(|| format!("cannot read {}", named(&path)))?;
        let whole = content
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        file.set_len(whole as u64)
            .with_context(|| format!("cannot mend {}", named(&path)))?;
        Ok(Self {
            path,
            file,
            found: PhantomData,
        })
    }

    /// Writes what came of several units in one piece.
    pub(super) fn push(&mut self, lines: Vec<(&Unit, Result<Found, String>)>) -> Result<()> {
        let mut text = String::new();
        for (unit, outcome) in lines {
            let outcome = match outcome {
                Ok(found) => Outcome::Found(found),
                Err(error) => Outcome::Error(error),
            };
            text += &serde_json::to_string(&Line {
                sample: unit.sample,
                key: unit.key.clone(),
                outcome,
            })?;
            text.push('\n');
        }
        self.file
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write {}", named(&self.path)))
    }
}

/// What the lines of `name` in `folder` say of `units`, those of all parts together. What was found of a unit once counts for good:
/// units are what they are by sample and key, wherever they stand among those that can be read today.
pub(super) fn known<Found: DeserializeOwned>(
    folder: &Path,
    name: &str,
    units: &[Unit],
) -> Result<Known<Found>> {
    let places: HashMap<u64, usize> = units
        .iter()
        .enumerate()
        .map(|(place, unit)| (unit.sample, place))
        .collect();
    let mut known = Known::new();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("cannot look into {}", named(folder)))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let file = path
                .file_name()
                .and_then(|file| file.to_str())
                .unwrap_or_default();
            file.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|rest| rest.ends_with(".jsonl"))
        })
        .collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", named(&path)))?;
        // Another process may be writing the last line.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for (place, line) in text[..whole].lines().enumerate() {
            let line: Line<Found> = serde_json::from_str(line).with_context(|| {
                format!(
                    "line {} of {} is not one that `blip2 evaluate` writes: remove the file, or name another --out",
                    place + 1,
                    named(&path)
                )
            })?;
            let place = places.get(&line.sample);
            let Some(place) = place.filter(|place| units[**place].key == line.key) else {
                continue;
            };
            match line.outcome {
                Outcome::Found(found) => {
                    known.insert(*place, Ok(found));
                }
                Outcome::Error(error) => {
                    known.entry(*place).or_insert(Err(error));
                }
            }
        }
    }
    Ok(known)
}

/// Makes `folder`, or goes on in it where it holds an evaluation by the same `settings`.
///
/// # Errors
/// Where it was begun with others.
pub(super) fn begin(folder: &Path, settings: &Value) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", named(folder)))?;
    let path = folder.join(SETTINGS);
    let before: Value = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = serde_json::to_string_pretty(settings)? + "\n";
            return replace(&path, &text);
        }
        read => {
            let text = read.with_context(|| format!("cannot read {}", named(&path)))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", named(&path)))?
        }
    };
    // As a file has it: numbers are written as short as they can be.
    let now: Value = serde_json::from_str(&serde_json::to_string(settings)?)?;
    let fields = now.as_object().context("settings are an object")?;
    // What an older version did not know yet is as if it were not asked for.
    let begun = |key: &str| before.get(key).unwrap_or(&Value::Null);
    match fields.iter().find(|(key, value)| begun(key) != *value) {
        Some((key, value)) => bail!(
            "{} was begun with another `{key}`: {}, not {value}; repeat its options, or name another --out",
            named(folder),
            begun(key)
        ),
        None => Ok(()),
    }
}

/// Writes a file whole or not at all, whoever else does so.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_added_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, text)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("cannot write {}", named(path)))
}
