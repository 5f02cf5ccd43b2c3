//! A data set whose annotations were read when it was opened, and whose pictures lie in folders.

use std::path::{Path, PathBuf};

use super::images::Images;
use super::rows::{Row, Rows};
use super::{
    Annotation, DataSpec, Dataset, OpenOptions, Picture, Report, Sample, SampleError, SetError, Severity,
    paths, reason,
};

/// Rows of annotations, and where their pictures are.
pub(super) struct Annotated {
    name: String,
    pictures: Pictures,
    rows: Rows,
    left_out: LeftOut,
}

enum Pictures {
    /// Files, named by rows.
    Files(Images),
    /// Samples of another data set; rows have their indices.
    Samples(Box<dyn Dataset>),
}

impl Pictures {
    fn read(&self, row: &Row) -> Result<Picture, SampleError> {
        match self {
            Self::Files(images) => images.read(&row.key, &row.picture),
            Self::Samples(set) => {
                let index = row
                    .picture
                    .parse()
                    .expect("rows have indices, and they are numbers");
                set.read(index).map(|sample| sample.picture)
            }
        }
    }
}

impl Annotated {
    fn row(&self, index: u64) -> Result<Row, SampleError> {
        let row = self.rows.get(index);
        row.ok_or_else(|| SampleError::beyond(index, self.rows.len()))
    }

    /// All that `read` finds in the files of `spec`, in a folder those with one of `endings`.
    pub(super) fn open(
        spec: &DataSpec,
        options: &OpenOptions,
        endings: &[&str],
        read: impl Fn(&DataSpec, &Path, &mut Listing) -> Result<(), SetError>,
    ) -> Result<Box<dyn Dataset>, SetError> {
        let files = paths::files(spec, endings)?;
        let mut listing = Listing::new(options.textless);
        for file in &files {
            listing.begin(file);
            read(spec, file, &mut listing)?;
        }
        let images = Images::of(spec, paths::folder_of(&files[0]));
        Ok(Self::boxed(spec.name(), images, listing))
    }

    /// What `listing` says of pictures in `folder`.
    pub(super) fn within(name: String, folder: &Path, listing: Listing) -> Box<dyn Dataset> {
        Self::boxed(name, Images::within(folder), listing)
    }

    fn boxed(name: String, images: Images, listing: Listing) -> Box<dyn Dataset> {
        let Listing {
            rows,
            left_out,
            archives,
            ..
        } = listing;
        Box::new(Self {
            name,
            pictures: archives.map_or(Pictures::Files(images), Pictures::Samples),
            rows,
            left_out,
        })
    }
}

impl Dataset for Annotated {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.rows.len()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let row = self.row(index)?;
        Ok(Sample {
            picture: self.pictures.read(&row)?,
            key: row.key,
            texts: row.texts,
            question: row.question,
            image_id: row.image_id,
        })
    }

    fn annotation(&self, index: u64) -> Result<Annotation, SampleError> {
        self.row(index).map(|row| Annotation {
            key: row.key,
            texts: row.texts,
            question: row.question,
            image_id: row.image_id,
        })
    }

    fn key(&self, index: u64) -> Result<String, SampleError> {
        self.row(index).map(|row| row.key)
    }

    fn reports(&self) -> Vec<Report> {
        self.left_out.reports()
    }

    fn fingerprint(&self) -> String {
        self.rows.fingerprint()
    }
}

/// What readers of annotations have found.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) rows: Rows,
    left_out: LeftOut,
    /// Whether a picture is a sample without any text.
    pub(super) textless: bool,
    /// The data set whose samples are the pictures, named by their index; absent: rows name files.
    pub(super) archives: Option<Box<dyn Dataset>>,
}

impl Listing {
    pub(super) fn new(textless: bool) -> Self {
        Self {
            textless,
            ..Self::default()
        }
    }

    /// A sample, unless nothing is said about its picture.
    pub(super) fn push(&mut self, row: &Row) {
        if row.texts.is_empty() && row.question.is_none() && !self.textless {
            self.leave_out(&row.key, reason::NO_CAPTIONS);
        } else {
            self.rows.push(row);
        }
    }

    /// No sample is made of `key`, found in the file that is read.
    pub(super) fn leave_out(&mut self, key: impl ToString, reason: &'static str) {
        let file = self.left_out.files.len().saturating_sub(1);
        self.left_out.entries.push((file, key.to_string().into(), reason));
    }

    /// What follows is found in `file`.
    pub(super) fn begin(&mut self, file: &Path) {
        self.left_out.files.push(file.to_owned());
    }

    pub(super) fn into_parts(self) -> (Rows, LeftOut) {
        (self.rows, self.left_out)
    }
}

/// What no sample was made of: of a download, there may be millions.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    files: Vec<PathBuf>,
    /// A file by its place in `files`, a key, a reason.
    entries: Vec<(usize, Box<str>, &'static str)>,
}

impl LeftOut {
    pub(super) fn reports(&self) -> Vec<Report> {
        let entries = self.entries.iter();
        entries
            .map(|(file, key, reason)| Report {
                severity: Severity::Skipped,
                reason: (*reason).to_owned(),
                file: self.files[*file].display().to_string(),
                key: Some(key.to_string()),
                problem: reason.replace('_', " "),
            })
            .collect()
    }
}
