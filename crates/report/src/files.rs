//! The files of a report. A reader finds the old ones or the new ones, never half of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Report, ReportError, page, pictures};

const FIGURES: &str = "report.json";

impl Report {
    /// Writes `report.json` and `report.html` into the folder `run` and returns the path of the page. The pictures that
    /// samples and looks name are read from `run/pictures` and embedded.
    ///
    /// # Errors
    /// A figure that is not finite, a share outside of 0 to 1, attention that does not cover its grid, a picture that is
    /// missing or no PNG, a folder that cannot be written. Nothing is written then, unless the disk fails between the
    /// two files.
    pub fn write(&self, run: &Path) -> Result<PathBuf, ReportError> {
        self.check()?;
        let page = page::html(self, &pictures::embedded(self, run)?)?;
        let figures = serde_json::to_string(self)?;

        replace(&run.join(FIGURES), &figures)?;
        let path = run.join("report.html");
        replace(&path, &page)?;
        Ok(path)
    }

    /// The summary of the report in the folder `run`, in its order, whatever else the report holds.
    ///
    /// # Errors
    /// No `report.json`, or one without a summary.
    pub fn read_summary(run: &Path) -> Result<Vec<(String, Value)>, ReportError> {
        #[derive(Deserialize)]
        struct Figures {
            #[serde(deserialize_with = "crate::ordered::deserialize")]
            summary: Vec<(String, Value)>,
        }

        parse::<Figures>(run).map(|figures| figures.summary)
    }

    /// The report in the folder `run`.
    ///
    /// # Errors
    /// No `report.json`, or one of another form.
    pub fn read(run: &Path) -> Result<Self, ReportError> {
        parse(run)
    }
}

fn parse<Content: DeserializeOwned>(run: &Path) -> Result<Content, ReportError> {
    let path = run.join(FIGURES);
    let text = fs::read_to_string(&path).map_err(|source| ReportError::File {
        action: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| ReportError::NotAReport { path, source })
}

fn replace(path: &Path, text: &str) -> Result<(), ReportError> {
    let partial = path.with_added_extension("partial");
    let written = File::create(&partial)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| {
        // What is left of the attempt helps nobody, and that it cannot be removed says no more than the error itself.
        let _ = fs::remove_file(&partial);
        ReportError::File {
            action: "write",
            path: path.to_owned(),
            source,
        }
    })
}
