//! The file that `caption --out` writes, and goes on with.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Job;
use crate::model::named;

/// JSON lines, a batch at a time.
pub(super) struct CaptionsFile {
    path: PathBuf,
    file: File,
    /// Picture and prompt of what it held when it was opened.
    held: HashSet<(String, String)>,
    /// Lines that are not in the file yet.
    waiting: Vec<u8>,
}

/// A line, as far as it decides what is left to do.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Caption {
        image: String,
        prompt: String,
        #[serde(rename = "text")]
        _text: String,
    },
    Failure {
        #[serde(rename = "image")]
        _image: String,
        #[serde(rename = "error")]
        _error: String,
    },
}

impl CaptionsFile {
    /// A new file.
    ///
    /// # Errors
    /// Where there is one that holds something: it may have cost hours.
    pub(super) fn create(path: &Path) -> Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0) {
            bail!(
                "{} is there already: go on with it by --resume, or name another --out",
                named(path)
            );
        }
        Self::open(path, HashSet::new())
    }

    /// The file at `path`, where there is one, without what is left of a broken run: a half-written last line, and pictures
    /// without all of their `captions`, among them those that failed.
    ///
    /// # Errors
    /// Where it holds something else than captions.
    pub(super) fn resume(path: &Path, captions: usize) -> Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read.with_context(|| format!("cannot read {}", named(path)))?,
        };
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let mut found: Vec<((String, String), &[u8])> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            match serde_json::from_slice(line) {
                Ok(Line::Caption { image, prompt, .. }) if line.ends_with(b"\n") => {
                    found.push(((image, prompt), line));
                }
                Ok(_) => {}
                Err(_) if index + 1 == lines.len() => {}
                Err(_) => bail!(
                    "line {} of {} is neither a caption nor an error that `blip2 caption --out` writes: name another --out",
                    index + 1,
                    named(path)
                ),
            }
        }
        let mut counts: HashMap<&(String, String), usize> = HashMap::new();
        found
            .iter()
            .for_each(|(key, _)| *counts.entry(key).or_default() += 1);
        let whole = |key| counts[key] >= captions;
        let kept: Vec<&[u8]> = found
            .iter()
            .filter(|(key, _)| whole(key))
            .map(|(_, line)| *line)
            .collect();
        if kept.len() < lines.len() {
            replace(path, &kept.concat()).with_context(|| format!("cannot mend {}", named(path)))?;
        }
        let held = found.iter().map(|(key, _)| key).filter(|key| whole(key));
        let held = held.cloned().collect();
        Self::open(path, held)
    }

    fn open(path: &Path, held: HashSet<(String, String)>) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            file: file.with_context(|| format!("cannot write {}", named(path)))?,
            path: path.to_owned(),
            held,
            waiting: Vec::new(),
        })
    }

    /// Whether it held all captions of `job` when it was opened.
    pub(super) fn holds(&self, job: &Job) -> bool {
        // A set of pairs can only be asked with a pair.
        self.held
            .contains(&(job.image.clone(), job.request.prompt.clone()))
    }

    pub(super) fn push(&mut self, record: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.waiting, record)?;
        self.waiting.push(b'\n');
        Ok(())
    }

    /// Writes all lines that were pushed, in one piece.
    pub(super) fn flush(&mut self) -> Result<()> {
        let written = self.file.write_all(&self.waiting);
        self.waiting.clear();
        written.with_context(|| format!("cannot write {}", self.name()))
    }

    pub(super) fn name(&self) -> String {
        named(&self.path)
    }
}

/// Puts `content` in the place of the file that `path` leads to: all of it, or nothing changes.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    fs::write(&partial, content)?;
    fs::rename(&partial, path)
}
