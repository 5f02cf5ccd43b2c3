//! The file that `caption --out` writes, and goes on with.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Job;
use crate::exclusive;
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
    /// A caption that a filter kept back: what was to be done is done.
    Withheld {
        image: String,
        prompt: String,
        #[serde(rename = "filtered")]
        _filtered: Value,
    },
    Failure {
        image: String,
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
        let file = exclusive::open(path)?;
        if file.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            bail!(
                "{} is there already: go on with it by --resume, or name another --out",
                named(path)
            );
        }
        Ok(Self::of(path, file, HashSet::new()))
    }

    /// The file at `path`, where there is one, without what is left of a broken run: a half-written last line, and of the pictures of
    /// `jobs` those without all of their `captions`, among them those that failed. All else stays.
    ///
    /// # Errors
    /// Where it holds something else than captions.
    pub(super) fn resume(path: &Path, captions: usize, jobs: &[Job]) -> Result<Self> {
        let mut file = exclusive::open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .with_context(|| format!("cannot read {}", named(path)))?;
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let mut found: Vec<(Line, &[u8])> = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            match serde_json::from_slice(line) {
                Ok(read) if line.ends_with(b"\n") => found.push((read, line)),
                _ if is_cut(line) => {}
                _ => bail!(
                    "line {} of {} is neither a caption nor an error that `blip2 caption --out` writes: name another --out",
                    index + 1,
                    named(path)
                ),
            }
        }
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        for (line, _) in &found {
            if let Line::Caption { image, prompt, .. } | Line::Withheld { image, prompt, .. } = line {
                *counts.entry((image, prompt)).or_default() += 1;
            }
        }
        let whole = |key: (&str, &str)| counts.get(&key).is_some_and(|count| *count >= captions);
        let asked: HashSet<(&str, &str)> = jobs.iter().map(Job::key).collect();
        let images: HashSet<&str> = jobs.iter().map(|job| job.image.as_str()).collect();
        let stays = |line: &Line| match line {
            Line::Caption { image, prompt, .. } | Line::Withheld { image, prompt, .. } => {
                !asked.contains(&(image.as_str(), prompt.as_str())) || whole((image, prompt))
            }
            Line::Failure { image, .. } => !images.contains(image.as_str()),
        };
        let kept: Vec<&[u8]> = found
            .iter()
            .filter(|(line, _)| stays(line))
            .map(|(_, line)| *line)
            .collect();
        if kept.len() < lines.len() {
            replace(path, &kept.concat()).with_context(|| format!("cannot mend {}", named(path)))?;
            file = exclusive::open(path)?;
        }
        let held = counts.keys().filter(|key| whole(**key));
        let held = held
            .map(|(image, prompt)| ((*image).to_owned(), (*prompt).to_owned()))
            .collect();
        Ok(Self::of(path, file, held))
    }

    fn of(path: &Path, file: File, held: HashSet<(String, String)>) -> Self {
        Self {
            path: path.to_owned(),
            file,
            held,
            waiting: Vec::new(),
        }
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

/// Whether `line` is the beginning of one of ours, as a kill leaves it.
fn is_cut(line: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{\"image\":";
    !line.ends_with(b"\n") && (line.starts_with(BEGINNING) || BEGINNING.starts_with(line))
}

/// Puts `content` in the place of the file that `path` leads to: all of it, or nothing changes.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    fs::write(&partial, content)?;
    fs::rename(&partial, path)
}
