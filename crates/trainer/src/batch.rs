//! What a step is about: rows of pictures and words, and the features of the pictures.

use std::ops::Range;

use blip2_data::pixels::RgbImage;
use burn::tensor::{Int, Tensor, TensorData};

use crate::TrainError;

/// A picture with the words that a step is about.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The sample's place among all that the run trains on: stored features are found by it.
    pub index: u64,
    /// The sample's name, for a person who looks for what went wrong.
    pub key: String,
    /// What the text follows, and carries no loss; absent: what the objective puts in front of a caption.
    pub prompt: Option<String>,
    /// Whether the text answers a question in the prompt.
    pub answers: bool,
    /// What the Q-Former reads beside the picture, where it reads a text: a question, or an instruction.
    pub read: Option<String>,
    /// Names the picture where several rows may show it: retrieval takes their texts for right, too.
    pub image_id: Option<String>,
    /// The words to learn: a caption, or the answer to a question in the prompt.
    pub text: String,
    /// The view of the picture that goes into the encoder; absent where features are stored.
    pub picture: Option<RgbImage>,
}

impl Row {
    /// Its picture, where an encoder is to see it.
    pub(crate) fn seen(&self) -> Result<&RgbImage, TrainError> {
        self.picture
            .as_ref()
            .ok_or_else(|| TrainError::NoPicture(self.key.clone()))
    }
}

/// The rows of a step that this rank has, all of them where it is alone, and what the frozen encoder makes of their pictures.
#[derive(Clone, Debug)]
pub struct Batch {
    /// One a pair.
    pub rows: Vec<Row>,
    /// `[rows, tokens, width]`, plain, in single precision, before the layer norm that stage 1 and 2 train.
    pub features: Tensor<3>,
}

impl Batch {
    /// Part `part` of `parts` of neighbouring rows.
    ///
    /// # Panics
    /// Where the rows cannot be cut in so many equal parts.
    pub fn part(&self, part: usize, parts: usize) -> Self {
        assert!(
            part < parts && self.rows.len().is_multiple_of(parts),
            "part {part} of {parts} of {} rows",
            self.rows.len()
        );
        let (size, all) = (self.rows.len() / parts, parts == 1);
        Self {
            rows: self.rows[part * size..(part + 1) * size].to_vec(),
            features: match all {
                true => self.features.clone(),
                false => self.features.clone().narrow(0, part * size, size),
            },
        }
    }

    /// The numbers of all rows.
    pub fn all(&self) -> Vec<usize> {
        (0..self.rows.len()).collect()
    }

    /// Features `[rows, tokens, width]` of the rows of these numbers.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn features_of(&self, rows: &[usize]) -> Tensor<3> {
        if rows.iter().copied().eq(0..self.rows.len()) {
            return self.features.clone();
        }
        let indices: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        self.features
            .clone()
            .select(0, Tensor::<1, Int>::from_data(indices, &self.features.device()))
    }
}

/// Where rows come from: data sets in the order of a run, with what was drawn for each.
pub trait RowSource {
    /// The rows of `step` (from 1): the same for the same step, whatever came before. Steps that follow each other are
    /// cheap, others may not be.
    ///
    /// # Errors
    /// [`TrainError`] where there is nothing to train on, or too much of it is damaged.
    fn rows(&mut self, step: u64) -> Result<Vec<Row>, TrainError>;

    /// Only the rows at `places` among them. Sources that open pictures had better not open the others.
    ///
    /// # Errors
    /// As for [`RowSource::rows`].
    fn some_rows(&mut self, step: u64, places: Range<usize>) -> Result<Vec<Row>, TrainError> {
        let rows = self.rows(step)?.into_iter();
        Ok(rows.skip(places.start).take(places.len()).collect())
    }
}
