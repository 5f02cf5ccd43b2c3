//! A folder with pictures, and beside each a `.txt` file of the same name: what `img2dataset --output_format files` and
//! many people make. `text = "json"` takes the captions of `.json` files, `text = "caption"` those of `.caption` files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::annotated::{LeftOut, Listing};
use super::images::Images;
use super::img2dataset::failures;
use super::rows::{Row, Rows};
use super::webdataset::captions;
use super::{DataSpec, Dataset, OpenOptions, Report, Sample, SampleError, SetError, paths, reason};
use crate::pixels::has_picture_name;

/// The most bytes of a file of texts.
const LONGEST: u64 = 1 << 20;

/// Texts stay in their files until they are asked for.
struct Folder {
    name: String,
    path: PathBuf,
    images: Images,
    rows: Rows,
    left_out: LeftOut,
    /// What the names of files with texts end with.
    ending: String,
    textless: bool,
}

/// Opens the folder `spec.path` with all folders below, in the order of names. A key is a picture's path within it.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let path = PathBuf::from(&spec.path);
    let ending = spec.text.clone().unwrap_or_else(|| "txt".to_owned());
    let (mut pictures, mut texts) = (Vec::new(), HashSet::new());
    let mut listing = Listing::new(true);
    listing.begin(&path);
    let (files, unusable) = paths::below(&path)?;
    for file in files {
        let name = Path::new(&file);
        if has_picture_name(name) {
            pictures.push(file);
        } else if name.extension().is_some_and(|end| end == ending.as_str()) {
            texts.insert(file);
        }
    }
    for file in unusable {
        listing.leave_out(file, reason::PICTURE_UNREADABLE);
    }
    if pictures.is_empty() {
        return Err(SetError::malformed(&path, "the folder holds no picture"));
    }
    for picture in pictures {
        if options.textless || texts.contains(&beside(&picture, &ending)) {
            listing.push(&Row {
                key: picture.clone(),
                picture,
                ..Row::default()
            });
        } else {
            listing.leave_out(picture, reason::NO_TEXT);
        }
    }
    failures(&path, &mut listing)?;
    let (rows, left_out) = listing.into_parts();
    Ok(Box::new(Folder {
        name: spec.name(),
        images: Images::within(&path),
        path,
        rows,
        left_out,
        ending,
        textless: options.textless,
    }))
}

/// The file of texts that belongs to `picture`.
fn beside(picture: &str, ending: &str) -> String {
    let file = Path::new(picture).with_extension(ending);
    file.to_string_lossy().into_owned()
}

impl Folder {
    fn row(&self, index: u64) -> Result<Row, SampleError> {
        let row = self.rows.get(index);
        row.ok_or_else(|| SampleError::beyond(index, self.rows.len()))
    }

    /// The texts beside `picture`, as they stand in their file.
    fn texts(&self, picture: &str) -> Result<Vec<String>, SampleError> {
        let path = self.path.join(beside(picture, &self.ending));
        let failed = |reason, problem: String| SampleError {
            key: picture.to_owned(),
            reason,
            problem: format!("{}: {problem}", path.display()),
        };
        if let Some(length) = fs::metadata(&path)
            .ok()
            .map(|found| found.len())
            .filter(|length| *length > LONGEST)
        {
            let problem = format!("it has {length} bytes, at most {LONGEST} are read");
            return Err(failed(reason::TEXT_TOO_LARGE, problem));
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(_) if self.textless => return Ok(Vec::new()),
            Err(error) => return Err(failed(reason::NO_TEXT, error.to_string())),
        };
        let texts = match self.ending == "json" {
            true => captions::from_json(&bytes),
            false => captions::from_text(bytes),
        };
        match texts {
            Err((reason::TEXT_NULL, _)) if self.textless => Ok(Vec::new()),
            Err((reason, problem)) => Err(failed(reason, problem)),
            Ok(texts) if texts.is_empty() && !self.textless => {
                Err(failed(reason::NO_TEXT, "it has no caption".into()))
            }
            Ok(texts) => Ok(texts),
        }
    }
}

impl Dataset for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.rows.len()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let row = self.row(index)?;
        Ok(Sample {
            picture: self.images.read(&row.key, &row.picture)?,
            texts: self.texts(&row.picture)?,
            key: row.key,
            question: None,
            image_id: None,
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
