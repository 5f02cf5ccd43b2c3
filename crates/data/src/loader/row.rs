//! Samples as a model is fed with them.

use image::RgbImage;

use crate::pixels::ImageProcessor;
use crate::sets::Question;

/// Rows of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The position of the run's first sample of the global batch.
    pub position: u64,
    /// The rows that are read here, in the order of the global batch.
    pub rows: Vec<Row>,
}

/// A sample, decoded and augmented.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its position in the run; randomness of this row is a function of it.
    pub position: u64,
    /// The set, by its number in the mixture.
    pub set: usize,
    /// Its index in the set: that of the sample which took the place, where one was damaged.
    pub index: u64,
    /// Names the sample within its set.
    pub key: String,
    /// The view that the transform made.
    pub picture: RgbImage,
    /// One of the sample's captions, drawn anew each time; none where the set has questions alone.
    pub text: Option<String>,
    /// What is asked, in sets of questions.
    pub question: Option<Question>,
    /// Names the picture where several samples share it.
    pub image_id: Option<String>,
}

impl Batch {
    /// The pictures, normalised: values of `[batch, 3, height, width]`, row-major, for pictures that have one size.
    pub fn pixels(&self, processor: &ImageProcessor) -> Vec<f32> {
        let pictures = self.rows.iter().map(|row| processor.normalise(&row.picture));
        pictures.collect::<Vec<_>>().concat()
    }
}
