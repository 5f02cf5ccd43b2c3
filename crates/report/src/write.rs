//! Writing a report so that a reader finds the old one or the new one, never half of one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{Report, ReportError, page, pictures};

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

        replace(&run.join("report.json"), &figures)?;
        let path = run.join("report.html");
        replace(&path, &page)?;
        Ok(path)
    }
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
