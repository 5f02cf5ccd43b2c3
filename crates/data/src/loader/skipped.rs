//! Damaged samples: a line for each, their number by reason, and the end of the run where they are too many.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, IntoInnerError, Result as IoResult, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{DataLoaderError, LoaderOptions};

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
    /// Whether an earlier epoch has told of it: a filter keeps out the same samples each time.
    #[serde(skip)]
    pub told_before: bool,
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
    /// Goes on with the list of `options` at `position` of the run: lines of later positions, which a run wrote that was stopped, are
    /// removed, for those samples come again. The list may be that of other ranks than now; judged is what is read here.
    pub(super) fn open(options: &LoaderOptions, position: u64) -> Result<Self, DataLoaderError> {
        let LoaderOptions { batch, rows, .. } = options;
        let mut ledger = Self {
            file: None,
            allowed: options.max_skipped,
            counts: BTreeMap::new(),
            skipped: 0,
            seen: position / batch * (rows.end - rows.start),
        };
        if let Some(path) = &options.skipped {
            let is_here = |skipped: &Skipped| rows.contains(&(skipped.position % batch));
            let file = rewrite(path, position, |skipped| {
                if is_here(skipped) {
                    ledger.add(skipped);
                }
            });
            let file = file.map_err(|source| DataLoaderError::Ledger {
                path: path.clone(),
                source,
            })?;
            ledger.file = Some((path.clone(), file));
        }
        Ok(ledger)
    }

    /// Lists and counts damaged samples, and those that are kept out, in the first epoch.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub(super) fn note(&mut self, skipped: &[Skipped]) -> Result<(), DataLoaderError> {
        for skipped in skipped.iter().filter(|skipped| !skipped.told_before) {
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

/// Opens the list at `path` to write on behind its lines of positions before `position`, each of which is told. The list is there whole at
/// any time; a last line that a kill has cut is none.
fn rewrite(path: &Path, position: u64, mut tell: impl FnMut(&Skipped)) -> IoResult<File> {
    let partial = path.with_extension("partial");
    let mut kept = BufWriter::new(File::create(&partial)?);
    match File::open(path) {
        Ok(begun) => {
            for line in BufReader::new(begun).split(b'\n') {
                if let Ok(skipped) = serde_json::from_slice::<Skipped>(&line?)
                    && skipped.position < position
                {
                    write_line(&mut kept, &skipped)?;
                    tell(&skipped);
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let kept = kept.into_inner().map_err(IntoInnerError::into_error)?;
    std::fs::rename(&partial, path)?;
    Ok(kept)
}

fn write_line(file: &mut impl Write, skipped: &Skipped) -> IoResult<()> {
    let mut line = serde_json::to_vec(skipped)?;
    line.push(b'\n');
    file.write_all(&line)
}
