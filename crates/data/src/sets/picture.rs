//! The picture of a sample: bytes of a file, or pixels.

use std::sync::Arc;

use image::RgbImage;

use super::SampleError;
use crate::pixels::{DecodeOptions, PixelsError, decode};

/// A picture as the data set has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    /// The bytes of a picture file, not decoded yet.
    Encoded(Arc<[u8]>),
    /// Drawn in memory.
    Pixels(Arc<RgbImage>),
}

impl Picture {
    /// The pixels as they lie in the file, in RGB, as webdataset and LAVIS see them: not turned by EXIF, opacity dropped.
    /// `key` names the sample in the error.
    ///
    /// # Errors
    /// `picture_empty`, `picture_undecodable`, `picture_truncated` or `picture_too_large`, the last before memory is taken.
    pub fn decode(&self, key: &str) -> Result<Arc<RgbImage>, SampleError> {
        let bytes = match self {
            Self::Pixels(pixels) => return Ok(pixels.clone()),
            Self::Encoded(bytes) => bytes,
        };
        let refused = |reason, problem| SampleError {
            key: key.to_owned(),
            reason,
            problem,
        };
        if bytes.is_empty() {
            return Err(refused("picture_empty", "its picture has no bytes".into()));
        }
        let decoded = decode(bytes, "its picture", DecodeOptions::as_stored());
        decoded
            .map(Arc::new)
            .map_err(|error| refused(reason(&error), error.to_string()))
    }
}

/// The word for counts.
fn reason(error: &PixelsError) -> &'static str {
    match error {
        PixelsError::TooLarge { .. } => "picture_too_large",
        PixelsError::Truncated { .. } => "picture_truncated",
        _ => "picture_undecodable",
    }
}
