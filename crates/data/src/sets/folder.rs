//! A folder with pictures, and beside each a `.txt` file of the same name: what `img2dataset --output_format files` and
//! many people make. `text = "json"` takes the captions of `.json` files, `text = "caption"` those of `.caption` files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::annotated::{LeftOut, Listing};
use super::images::Images;
use super::img2dataset::failures;
use super::json::Texts;
use super::rows::{Row, Rows};
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
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| failed(reason::TEXT_NOT_UTF8, error.utf8_error().to_string()))?;
        if self.ending != "json" {
            return Ok(vec![text]);
        }
        match serde_json::from_str::<Captions>(&text) {
            Ok(Captions { texts: Some(texts) }) if texts.0.is_empty() && !self.textless => Err(failed(
                reason::NO_CAPTIONS,
                "its list of captions is empty".into(),
            )),
            Ok(Captions { texts: Some(texts) }) => Ok(texts.0),
            Ok(Captions { texts: None }) if self.textless => Ok(Vec::new()),
            Ok(Captions { texts: None }) => Err(failed(reason::TEXT_NULL, "it has no caption".into())),
            Err(error) => Err(failed(reason::JSON_INVALID, error.to_string())),
        }
    }
}

/// What a `.json` file beside a picture says.
#[derive(Deserialize)]
struct Captions {
    #[serde(alias = "caption", alias = "captions", alias = "text")]
    texts: Option<Texts>,
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
