//! Captions as they are written, to stdout and to a file.

use anyhow::{Error, Result};
use blip2::{Blip2Error, Finding, Written};
use serde::Serialize;

use super::Job;
use super::captions_file::CaptionsFile;
use crate::safety::{Place, Safety};
use crate::{output, safety};

/// Where captions go.
pub(super) struct Lines {
    json: bool,
    /// Whether a line of plain text names its picture.
    named: bool,
    file: Option<CaptionsFile>,
    safety: Safety,
    captions: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Record<'a> {
    Caption {
        image: &'a str,
        prompt: &'a str,
        #[serde(flatten)]
        written: &'a Written,
    },
    Withheld {
        image: &'a str,
        prompt: &'a str,
        filtered: Finding,
    },
    Failure {
        image: &'a str,
        error: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        filtered: Option<Finding>,
    },
}

impl Lines {
    pub(super) fn new(json: bool, named: bool, file: Option<CaptionsFile>, safety: Safety) -> Self {
        Self {
            json,
            named,
            file,
            safety,
            captions: 0,
        }
    }

    /// Whether the file had the captions of `job` already.
    pub(super) fn holds(&self, job: &Job) -> bool {
        self.file.as_ref().is_some_and(|file| file.holds(job))
    }

    /// Writes what came of some jobs, and gives back the errors among it.
    pub(super) fn put<'a>(
        &mut self,
        results: impl Iterator<Item = (Result<Vec<Written>, Blip2Error>, &'a Job)>,
    ) -> Result<Vec<Blip2Error>> {
        let mut errors = Vec::new();
        for (result, job) in results {
            if self.holds(job) {
                continue;
            }
            match result {
                Ok(texts) => texts.iter().try_for_each(|written| self.caption(job, written))?,
                Err(error) => {
                    self.record(&Record::Failure {
                        image: &job.image,
                        error: output::chain(&error),
                        filtered: None,
                    })?;
                    errors.push(error);
                }
            }
        }
        self.file.as_mut().map_or(Ok(()), CaptionsFile::flush)?;
        Ok(errors)
    }

    /// Writes that the prompt of `job` is kept from the model, where the filter finds something; the error of it.
    pub(super) fn refuse(&mut self, job: &Job) -> Result<Option<Error>> {
        let Some(filtered) = self.safety.find(Place::Prompt, &job.request.prompt) else {
            return Ok(None);
        };
        let error = safety::refused(&filtered).context(job.image.clone());
        self.record(&Record::Failure {
            image: &job.image,
            error: output::chain(error.as_ref()),
            filtered: Some(filtered),
        })?;
        self.file.as_mut().map_or(Ok(()), CaptionsFile::flush)?;
        Ok(Some(error))
    }

    fn caption(&mut self, job: &Job, written: &Written) -> Result<()> {
        if let Some(filtered) = self.safety.find(Place::Text, &written.text) {
            safety::withheld(&job.image, &filtered);
            return self.record(&Record::Withheld {
                image: &job.image,
                prompt: &job.request.prompt,
                filtered,
            });
        }
        self.captions += 1;
        if !self.json && self.file.is_none() {
            return match self.named {
                true => output::line(format_args!("{}: {}", job.image, written.text)),
                false => output::line(&written.text),
            };
        }
        self.record(&Record::Caption {
            image: &job.image,
            prompt: &job.request.prompt,
            written,
        })
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.push(record)?;
        }
        if self.json { output::json(record) } else { Ok(()) }
    }

    /// Says where the captions are, and what was kept back.
    pub(super) fn close(self, pictures_per_second: f64) -> Result<()> {
        self.safety.report();
        match self.file {
            Some(file) if !self.json => output::line(format_args!(
                "{} captions written to {}, {pictures_per_second:.2} pictures a second",
                self.captions,
                file.name()
            )),
            _ => Ok(()),
        }
    }
}
