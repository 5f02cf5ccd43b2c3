//! The data set that a command works on, its pictures opened by places that stand for files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use blip2::{PixelsError, RgbImage};
use blip2_data::sets::{DataSpec, Dataset, Picture};

use super::data::only_set;
use crate::pictures::PictureArguments;

/// A data set, and how it was named.
pub(super) struct DataSet {
    pub(super) spec: DataSpec,
    set: Box<dyn Dataset>,
}

impl DataSet {
    /// The one that `spec` names.
    ///
    /// # Errors
    /// Where it cannot be opened, or is not one.
    pub(super) fn open(spec: &str) -> Result<Self> {
        let (spec, set) = only_set(spec)?;
        Ok(Self { spec, set })
    }

    /// The samples themselves.
    pub(super) fn samples(&self) -> &dyn Dataset {
        self.set.as_ref()
    }

    /// The place that stands for the file of sample number `index`.
    pub(super) fn place(index: u64) -> PathBuf {
        PathBuf::from(index.to_string())
    }

    /// The picture at a place.
    pub(super) fn picture(&self, place: &Path, reading: &PictureArguments) -> Result<RgbImage, PixelsError> {
        let index = place.to_string_lossy().parse().unwrap_or(u64::MAX);
        let sample = self.set.read(index).map_err(|error| PixelsError::NotAPicture {
            name: error.key,
            reason: error.problem,
        })?;
        match &sample.picture {
            Picture::Encoded(bytes) => reading.decode(bytes, &sample.key),
            Picture::Pixels(pixels) => Ok(RgbImage::clone(pixels)),
        }
    }
}
