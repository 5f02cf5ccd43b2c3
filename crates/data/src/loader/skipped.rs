//! Damaged samples: a line for each, their number by reason, and the end of the run where they are too many.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Result as IoResult, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DataLoaderError;

/// The share of damaged samples is not judged by fewer than so many.
const JUDGED_FROM: u64 = 1000;

/// A sample that could not be used; a line of `skipped.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where in the run it should have stood.
    pub position: u64,
    /// The set that it belongs to.
    pub set: String,
    /// Its index in the set.
    pub index: u64,
    /// Its name.
    pub key: String,
    /// A word for counts.
    pub reason: String,
    /// What was wrong and where.
    pub problem: String,
    /// Whether a filter kept it out: it is no damage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept_out: bool,
}

/// Keeps the account of damaged samples.
pub(super) struct Ledger {
    file: Option<(PathBuf, File)>,
    allowed: f64,
    counts: BTreeMap<(String, String), u64>,
    /// Damaged ones alone.
    skipped: u64,
    seen: u64,
}

impl Ledger {
    /// Goes on with the list at `path` at `position` of the run, where `seen` samples were seen: lines of later positions, which
    /// a run wrote that was stopped, are removed, for those samples come again.
    pub(super) fn open(
        path: Option<&Path>,
        allowed: f64,
        position: u64,
        seen: u64,
    ) -> Result<Self, DataLoaderError> {
        let mut ledger = Self {
            file: None,
            allowed,
            counts: BTreeMap::new(),
            skipped: 0,
            seen,
        };
        let Some(path) = path else {
            return Ok(ledger);
        };
        let failed = |source| DataLoaderError::Ledger {
            path: path.to_owned(),
            source,
        };
        let kept = read_before(path, position).map_err(failed)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(failed)?;
        for skipped in &kept {
            write_line(&mut file, skipped).map_err(failed)?;
            ledger.add(skipped);
        }
        ledger.file = Some((path.to_owned(), file));
        Ok(ledger)
    }

    /// Lists and counts damaged samples.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub(super) fn note(&mut self, skipped: &[Skipped]) -> Result<(), DataLoaderError> {
        for skipped in skipped {
            self.add(skipped);
            if let Some((path, file)) = &mut self.file {
                write_line(file, skipped).map_err(|source| DataLoaderError::Ledger {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// Counts `rows` more that were seen.
    ///
    /// # Errors
    /// If too many were damaged.
    pub(super) fn count(&mut self, rows: u64) -> Result<(), DataLoaderError> {
        self.seen += rows;
        let judged = self.seen.max(JUDGED_FROM);
        if self.skipped as f64 <= self.allowed * judged as f64 {
            return Ok(());
        }
        let counts = self.counts.iter();
        let counts = counts.map(|((set, reason), count)| format!("{count} {reason} in {set}"));
        Err(DataLoaderError::TooManySkipped {
            skipped: self.skipped,
            seen: self.seen,
            allowed: self.allowed,
            counts: counts.collect::<Vec<_>>().join(", "),
        })
    }

    /// That none of `skipped`, tried one after the other, could be used.
    pub(super) fn nothing_left(&self, skipped: &[Skipped]) -> DataLoaderError {
        let last = skipped.last();
        DataLoaderError::NothingLeft {
            set: last.map_or_else(String::new, |last| last.set.clone()),
            tried: skipped.len(),
            problem: last.map_or_else(String::new, |last| format!("{}: {}", last.key, last.problem)),
        }
    }

    /// Sets, reasons and numbers.
    pub(super) fn counts(&self) -> Vec<(&str, &str, u64)> {
        let counts = self.counts.iter();
        counts
            .map(|((set, reason), count)| (set.as_str(), reason.as_str(), *count))
            .collect()
    }

    fn add(&mut self, skipped: &Skipped) {
        self.skipped += u64::from(!skipped.kept_out);
        *self
            .counts
            .entry((skipped.set.clone(), skipped.reason.clone()))
            .or_default() += 1;
    }
}

/// The lines of positions before `position`; a last line that a kill has cut is none.
fn read_before(path: &Path, position: u64) -> IoResult<Vec<Skipped>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut kept = Vec::new();
    for line in BufReader::new(file).lines() {
        if let Ok(skipped) = serde_json::from_str::<Skipped>(&line?)
            && skipped.position < position
        {
            kept.push(skipped);
        }
    }
    Ok(kept)
}

fn write_line(file: &mut File, skipped: &Skipped) -> IoResult<()> {
    let mut line = serde_json::to_vec(skipped)?;
    line.push(b'\n');
    file.write_all(&line)
}
