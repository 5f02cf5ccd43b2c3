//! `metrics.jsonl`: one object a line, each loss apart.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::TrainError;
use crate::error::io;

/// The log of a run, appended to as it goes.
pub struct RunLog {
    path: PathBuf,
    /// None: a rank that writes nothing.
    file: Option<File>,
}

impl RunLog {
    /// Opens or begins the log of the run in `run`.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the disk refuses.
    pub fn open(run: &Path) -> Result<Self, TrainError> {
        let path = run.join("metrics.jsonl");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(io("write", &path))?;
        let text = std::fs::read(&path).map_err(io("read", &path))?;
        if text.last().is_some_and(|byte| *byte != b'\n') {
            // A line that a kill cut off must not swallow the next one.
            file.write_all(b"\n").map_err(io("write", &path))?;
        }
        Ok(Self {
            path,
            file: Some(file),
        })
    }

    /// The log of a rank that is not the first: nothing is written, and nothing there to read.
    pub(crate) fn silent(run: &Path) -> Self {
        Self {
            path: run.join("metrics.jsonl"),
            file: None,
        }
    }

    /// Drops lines of `phase` past `step`: a run that goes on from a checkpoint repeats them.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the disk refuses.
    pub fn rewind(&mut self, phase: &str, step: u64) -> Result<(), TrainError> {
        let is_later = |line: &Map<String, Value>| {
            let done = line.get("step").and_then(Value::as_u64);
            done.is_some_and(|done| done > step) && line.get("phase").is_some_and(|name| name == phase)
        };
        // Lines are kept as they were written: reading a number and writing it again may change its last digit.
        if self.file.is_none() {
            return Ok(());
        }
        let kept: String = self
            .text()?
            .lines()
            .filter(|line| parsed(line).is_some_and(|line| !is_later(&line)))
            .map(|line| format!("{line}\n"))
            .collect();
        let partial = self.path.with_extension("partial");
        std::fs::write(&partial, kept)
            .and_then(|()| std::fs::rename(&partial, &self.path))
            .and_then(|()| OpenOptions::new().append(true).open(&self.path))
            .map(|file| self.file = Some(file))
            .map_err(io("write", &self.path))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the disk refuses.
    pub fn write(&mut self, line: Map<String, Value>) -> Result<(), TrainError> {
        match &mut self.file {
            None => Ok(()),
            Some(file) => writeln!(file, "{}", Value::Object(line)).map_err(io("write", &self.path)),
        }
    }

    /// All whole lines; one that was cut off by a kill is left out.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the file cannot be read.
    pub fn lines(&self) -> Result<Vec<Map<String, Value>>, TrainError> {
        Ok(self.text()?.lines().filter_map(parsed).collect())
    }

    fn text(&self) -> Result<String, TrainError> {
        if self.file.is_none() {
            return Ok(String::new());
        }
        std::fs::read_to_string(&self.path).map_err(io("read", &self.path))
    }
}

fn parsed(line: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(line).ok()
}
