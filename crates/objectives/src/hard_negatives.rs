//! Hard negatives: the wrong partners that matching is asked about, drawn from the global batch by similarity (paper
//! section 3.2, LAVIS `blip2_qformer.py`).

use std::ops::Range;

use blip2_core::ModelError;
use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Similarities;

/// The wrong partners of some pairs, by their row in the global batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negatives {
    /// For each text, an image that is not its own.
    pub images: Vec<usize>,
    /// For each image, a text that is not its own.
    pub texts: Vec<usize>,
}

/// How likely each partner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NegativeWeights {
    /// The softmax over all but the own partner, as on LAVIS's main branch: what is easily confused is drawn often.
    #[default]
    Softmax,
    /// The softmax over all, plus 1e-4 for everyone, and nothing for the own partner: salesforce-lavis 1.0.2.
    SoftmaxFloor,
}

/// What [`NegativeWeights::SoftmaxFloor`] adds.
const FLOOR: f64 = 1e-4;

impl NegativeWeights {
    /// The weight of each partner, 0 for those that `is_right` says are no negative: those of a row need not sum to 1.
    fn of(self, similarities: &[f32], is_right: impl Fn(usize) -> bool) -> Vec<f64> {
        let counts = |index: usize| self == Self::SoftmaxFloor || !is_right(index);
        let rows = || similarities.iter().enumerate();
        let largest = rows()
            .filter(|(index, _)| counts(*index))
            .fold(f32::NEG_INFINITY, |largest, (_, score)| largest.max(*score));
        let exponential = |(index, score): (usize, &f32)| match counts(index) {
            true => f64::from(score - largest).exp(),
            false => 0.0,
        };
        let mut weights: Vec<f64> = rows().map(exponential).collect();
        if self == Self::SoftmaxFloor {
            let total: f64 = weights.iter().sum();
            for (index, weight) in weights.iter_mut().enumerate() {
                *weight = if is_right(index) {
                    0.0
                } else {
                    *weight / total + FLOOR
                };
            }
        }
        weights
    }
}

/// The weights of all partners of each row of `similarities` `[part, batch]`, of which the first is row `first` of the global
/// batch. Where a similarity is no number, neither is the loss, which ends the step: all partners then weigh the same.
///
/// # Errors
/// [`ModelError::Invalid`] for a global batch of one, which has no negative.
pub fn negative_weights(
    similarities: &Tensor<2>,
    first: usize,
    rule: NegativeWeights,
) -> Result<Vec<Vec<f64>>, ModelError> {
    weights_among(similarities, first, rule, None)
}

/// As [`negative_weights`]; where `pictures` holds a number for the picture of each row, those of the own picture weigh nothing.
fn weights_among(
    similarities: &Tensor<2>,
    first: usize,
    rule: NegativeWeights,
    pictures: Option<&[u64]>,
) -> Result<Vec<Vec<f64>>, ModelError> {
    let [_, batch] = similarities.dims();
    if batch < 2 {
        return Err(ModelError::Invalid(
            "matching needs a batch of at least 2: one pair has no negative".to_owned(),
        ));
    }
    let scores = similarities
        .clone()
        .inner()
        .into_data()
        .convert::<f32>()
        .try_to_vec::<f32>()
        .map_err(|error| ModelError::Invalid(format!("similarities cannot be read: {error}")))?;
    let rows = scores.chunks(batch).zip(first..);
    let weights = rows.map(|(row, own)| {
        let is_right =
            |other: usize| other == own || pictures.is_some_and(|pictures| pictures[other] == pictures[own]);
        let weights = rule.of(row, is_right);
        match weights.iter().sum::<f64>().is_finite() {
            true => weights,
            false => (0..batch)
                .map(|other| f64::from(u8::from(!is_right(other))))
                .collect(),
        }
    });
    Ok(weights.collect())
}

/// Where the negatives of a global batch come from.
pub enum NegativeSource<'a> {
    /// Drawn by similarity.
    Drawn(&'a mut ChaCha8Rng),
    /// Given for all rows: a test that compares with recorded draws.
    Given(Negatives),
}

/// What chance has decided of the negatives of a global batch before any similarity is known: a row's draw does not depend on
/// how the batch is cut.
pub(crate) enum Draws {
    /// For each row, where in the sum of its weights the image and the text lie that it is given, as a share.
    Points { images: Vec<f64>, texts: Vec<f64> },
    /// The negatives themselves.
    Given(Negatives),
}

impl Draws {
    /// # Errors
    /// [`ModelError::Invalid`] where negatives are given that are not those of a batch of `batch`.
    pub(crate) fn new(source: NegativeSource<'_>, batch: usize) -> Result<Self, ModelError> {
        match source {
            NegativeSource::Drawn(generator) => {
                let mut points = || (0..batch).map(|_| generator.random()).collect();
                Ok(Self::Points {
                    images: points(),
                    texts: points(),
                })
            }
            NegativeSource::Given(negatives) => {
                let Negatives { images, texts } = &negatives;
                let inside = images.iter().chain(texts).all(|row| *row < batch);
                if images.len() == batch && texts.len() == batch && inside {
                    return Ok(Self::Given(negatives));
                }
                Err(ModelError::Invalid(format!(
                    "negatives do not belong to a batch of {batch}: {negatives:?}"
                )))
            }
        }
    }

    /// The negatives of `rows` of the global batch, whose `similarities` are these.
    ///
    /// # Errors
    /// As for [`negative_weights`].
    pub(crate) fn negatives(
        &self,
        similarities: &Similarities,
        rows: Range<usize>,
        rule: NegativeWeights,
        pictures: Option<&[u64]>,
    ) -> Result<Negatives, ModelError> {
        match self {
            Self::Given(negatives) => Ok(Negatives {
                images: negatives.images[rows.clone()].to_vec(),
                texts: negatives.texts[rows].to_vec(),
            }),
            Self::Points { images, texts } => {
                let draw = |similarities, points: &[f64]| -> Result<Vec<usize>, ModelError> {
                    let weights = weights_among(similarities, rows.start, rule, pictures)?;
                    let drawn = weights.iter().zip(points).zip(rows.clone());
                    Ok(drawn
                        .map(|((weights, point), own)| at(weights, *point, own))
                        .collect())
                };
                Ok(Negatives {
                    images: draw(&similarities.text_to_image, &images[rows.clone()])?,
                    texts: draw(&similarities.image_to_text, &texts[rows.clone()])?,
                })
            }
        }
    }
}

/// Draws the negatives of a global batch that is a single part.
///
/// # Errors
/// As for [`negative_weights`].
pub fn draw_negatives(
    similarities: &Similarities,
    rule: NegativeWeights,
    generator: &mut ChaCha8Rng,
) -> Result<Negatives, ModelError> {
    let [batch, _] = similarities.image_to_text.dims();
    Draws::new(NegativeSource::Drawn(generator), batch)?.negatives(similarities, 0..batch, rule, None)
}

/// The partner that lies at the share `point` of the sum of `weights`; never `own`.
fn at(weights: &[f64], point: f64, own: usize) -> usize {
    let mut point = point * weights.iter().sum::<f64>();
    let mut chosen = if own == 0 { 1 } else { 0 };
    for (index, weight) in weights.iter().enumerate().filter(|(index, _)| *index != own) {
        chosen = index;
        point -= weight;
        if point < 0.0 {
            break;
        }
    }
    chosen
}
