//! The pictures of a data set: named in records by their keys, opened by their places.

use std::path::{Path, PathBuf};

use anyhow::Result;
use blip2::{CaptionRequest, PixelsError, RgbImage};
use blip2_data::sets::{Dataset, Picture};

use super::Job;
use crate::commands::data::only_set;
use crate::pictures::PictureArguments;

/// A data set whose pictures are captioned.
pub(super) struct DataSet(Box<dyn Dataset>);

impl DataSet {
    /// The one that `spec` names.
    ///
    /// # Errors
    /// Where it cannot be opened, or is not one.
    pub(super) fn open(spec: &str) -> Result<Self> {
        let (_, set) = only_set(spec)?;
        Ok(Self(set))
    }

    /// Each picture with `prompt`.
    pub(super) fn jobs(&self, prompt: &str) -> Vec<Job> {
        let job = |index| Job {
            image: self.0.key(index).unwrap_or_else(|error| error.key),
            request: CaptionRequest {
                file: PathBuf::from(index.to_string()),
                prompt: prompt.to_owned(),
            },
        };
        (0..self.0.len()).map(job).collect()
    }

    /// The picture of a job, by the place that stands for its file.
    pub(super) fn picture(&self, place: &Path, reading: &PictureArguments) -> Result<RgbImage, PixelsError> {
        let index = place.to_string_lossy().parse().unwrap_or(u64::MAX);
        let sample = self.0.read(index).map_err(|error| PixelsError::NotAPicture {
            name: error.key,
            reason: error.problem,
        })?;
        match &sample.picture {
            Picture::Encoded(bytes) => reading.decode(bytes, &sample.key),
            Picture::Pixels(pixels) => Ok(RgbImage::clone(pixels)),
        }
    }
}
