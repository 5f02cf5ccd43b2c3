//! One example of a data set, and what can be wrong with it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Picture, reason};

/// A picture with what is said and asked about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names the sample within its data set.
    pub key: String,
    /// What is seen.
    pub picture: Picture,
    /// Captions, as they are written; none where the set has questions alone.
    pub texts: Vec<String>,
    /// What is asked, in sets of questions.
    pub question: Option<Question>,
    /// Names the picture where several samples share it: retrieval counts each of them as right.
    pub image_id: Option<String>,
}

/// What is said and asked about a picture: a [`Sample`] without it.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// As [`Sample::key`].
    pub key: String,
    /// As [`Sample::texts`].
    pub texts: Vec<String>,
    /// As [`Sample::question`].
    pub question: Option<Question>,
    /// As [`Sample::image_id`].
    pub image_id: Option<String>,
}

impl From<Sample> for Annotation {
    fn from(sample: Sample) -> Self {
        let Sample {
            key,
            picture: _,
            texts,
            question,
            image_id,
        } = sample;
        Self {
            key,
            texts,
            question,
            image_id,
        }
    }
}

/// A question about a picture, with the answers that people gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Names the question in result files.
    pub id: String,
    /// As it was asked.
    pub text: String,
    /// Answers as they were given, the first given first; none in a test part.
    pub answers: Vec<Answer>,
}

/// An answer and how many people gave it, word for word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Not normalised.
    pub text: String,
    /// At least 1; LAVIS's lists give weights instead, which are shares of all.
    pub count: f64,
}

/// Why a sample cannot be used. It is skipped, counted under [`SampleError::reason`], and another takes its place.
#[derive(Debug, Error)]
#[error("sample {key}: {problem}")]
pub struct SampleError {
    /// Which sample, or where it should be where it has no key.
    pub key: String,
    /// A word for counts, such as `picture_damaged`: one of a fixed list, in lower case with underscores.
    pub reason: &'static str,
    /// What was wrong and where.
    pub problem: String,
}

impl SampleError {
    /// What was asked for lies behind the last of `count` samples.
    pub(super) fn beyond(index: u64, count: u64) -> Self {
        Self {
            key: index.to_string(),
            reason: reason::NO_SUCH_SAMPLE,
            problem: format!("the data set has {count} samples"),
        }
    }
}
