//! The folder that CapFilt writes: a line at a time, in the order of the data set, so that the last line says where to go on.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blip2::Blip2Error;
use blip2::capfilt::{Kept, Origin};
use blip2_data::sets::SampleError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::job::Job;
use crate::exclusive;
use crate::model::named;
use crate::output::chain;

const CAPTIONS: &str = "captions.jsonl";
const SKIPPED: &str = "skipped.jsonl";

/// What came of a picture.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Record {
    Kept(Filtered),
    Skipped {
        index: u64,
        key: String,
        reason: &'static str,
        problem: String,
    },
}

/// A picture's captions, best first.
#[derive(Serialize, Deserialize)]
pub(super) struct Filtered {
    pub(super) index: u64,
    pub(super) key: String,
    pub(super) captions: Vec<String>,
    pub(super) scores: Vec<f64>,
    pub(super) origins: Vec<Origin>,
}

impl Record {
    pub(super) fn of(index: u64, key: String, kept: Result<Vec<Kept>, Blip2Error>) -> Self {
        let skipped = |reason, problem| SampleError {
            key: key.clone(),
            reason,
            problem,
        };
        match kept {
            Ok(kept) if kept.is_empty() => Self::skipped(
                index,
                skipped("no_captions", "it has no caption, and none was written".into()),
            ),
            Ok(kept) => Self::Kept(Filtered {
                scores: kept.iter().map(|one| one.score).collect(),
                origins: kept.iter().map(|one| one.origin).collect(),
                captions: kept.into_iter().map(|one| one.text).collect(),
                index,
                key,
            }),
            Err(error) => Self::skipped(index, skipped("not_filtered", chain(&error))),
        }
    }

    pub(super) fn skipped(index: u64, SampleError { key, reason, problem }: SampleError) -> Self {
        Self::Skipped {
            index,
            key,
            reason,
            problem,
        }
    }
}

/// Both files of lines.
pub(super) struct Output {
    captions: Lines,
    skipped: Lines,
}

impl Output {
    /// # Errors
    /// Where the folder holds a run already: it may have cost days.
    pub(super) fn create(folder: &Path, job: &Job) -> Result<Self> {
        if holds_lines(folder) {
            bail!(
                "{} holds a run of CapFilt already: go on with it by --resume, or name another --out",
                named(folder)
            );
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", named(folder)))?;
        let path = job_file(folder);
        let text = serde_json::to_string_pretty(job)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", named(&path)))?;
        Self::open(folder)
    }

    /// Goes on behind the last whole line of captions. What was skipped behind it is looked at again.
    ///
    /// # Errors
    /// Where the folder holds what another job wrote.
    pub(super) fn resume(folder: &Path, job: &Job) -> Result<Self> {
        if !holds_lines(folder) {
            return Self::create(folder, job);
        }
        let path = job_file(folder);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", named(&path)))?;
        let before: Value =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", named(&path)))?;
        // As a file has it: numbers of f32 are written as short as they can be.
        let now: Value = serde_json::from_str(&serde_json::to_string(job)?)?;
        let Value::Object(fields) = &now else {
            bail!("a job is an object");
        };
        if let Some((key, value)) = fields.iter().find(|(key, value)| before.get(key) != Some(value)) {
            bail!(
                "{} was begun with another `{key}`: {}, not {value}; repeat its options, or name another --out",
                named(folder),
                before.get(key).unwrap_or(&Value::Null)
            );
        }
        Self::open(folder)
    }

    fn open(folder: &Path) -> Result<Self> {
        let captions = Lines::open(folder.join(CAPTIONS), u64::MAX)?;
        let skipped = Lines::open(folder.join(SKIPPED), captions.next)?;
        Ok(Self { captions, skipped })
    }

    /// The index behind the last one that is known to be done, as captions or as skipped before captions.
    pub(super) fn next(&self) -> u64 {
        self.captions.next
    }

    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Kept(_) => self.captions.push(record),
            Record::Skipped { .. } => self.skipped.push(record),
        }
    }

    /// Pictures with captions, and pictures without.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.captions.count, self.skipped.count)
    }

    pub(super) fn captions(&self) -> &Path {
        &self.captions.path
    }

    pub(super) fn skipped(&self) -> &Path {
        &self.skipped.path
    }
}

/// Whether anything came of a run in `folder`; what failed before that may be asked for anew.
fn holds_lines(folder: &Path) -> bool {
    let mut files = [CAPTIONS, SKIPPED].into_iter().map(|name| folder.join(name));
    files.any(|file| fs::metadata(file).is_ok_and(|file| file.len() > 0))
}

fn job_file(folder: &Path) -> PathBuf {
    folder.join("job.json")
}

/// A file of lines whose indices ascend.
struct Lines {
    path: PathBuf,
    file: File,
    count: u64,
    /// The index behind that of the last line.
    next: u64,
}

impl Lines {
    /// The file at `path` with the whole lines whose index lies below `below`; the rest is cut off.
    fn open(path: PathBuf, below: u64) -> Result<Self> {
        #[derive(Deserialize)]
        struct Place {
            index: u64,
        }
        let file = exclusive::open(&path)?;
        let mut reader = BufReader::new(&file);
        let (mut line, mut whole, mut count, mut next) = (Vec::new(), 0, 0, 0);
        loop {
            line.clear();
            let bytes = reader
                .read_until(b'\n', &mut line)
                .with_context(|| format!("cannot read {}", named(&path)))?;
            if !line.ends_with(b"\n") {
                break;
            }
            let Ok(Place { index }) = serde_json::from_slice(&line) else {
                bail!(
                    "line {} of {} is none that `blip2 capfilt` writes: name another --out",
                    count + 1,
                    named(&path)
                );
            };
            if index >= below {
                break;
            }
            (whole, count, next) = (whole + bytes as u64, count + 1, index + 1);
        }
        file.set_len(whole)
            .with_context(|| format!("cannot mend {}", named(&path)))?;
        Ok(Self {
            path,
            file,
            count,
            next,
        })
    }

    /// Writes `record` in one piece.
    fn push(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record)? + "\n";
        self.count += 1;
        self.file
            .write_all(line.as_bytes())
            .with_context(|| format!("cannot write {}", named(&self.path)))
    }
}
