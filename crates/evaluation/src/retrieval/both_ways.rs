//! Retrieval as LAVIS reports it (`RetrievalTask._report_metrics`): texts by image and images by text, several texts an image.

use serde::{Deserialize, Serialize};

use super::{check_matrix, rank};
use crate::EvaluationError;

/// Which texts belong to which image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captions {
    image_of: Vec<usize>,
    texts_of: Vec<Vec<usize>>,
}

impl Captions {
    /// Of a gallery of `images`, where text `t` belongs to the image `image_of[t]`. An image may have no text.
    ///
    /// # Errors
    /// A text that belongs to an image outside of the gallery.
    pub fn new(images: usize, image_of: Vec<usize>) -> Result<Self, EvaluationError> {
        let mut texts_of = vec![Vec::new(); images];
        for (query, &item) in image_of.iter().enumerate() {
            let own = texts_of.get_mut(item).ok_or(EvaluationError::OutOfGallery {
                query,
                item,
                gallery: images,
            })?;
            own.push(query);
        }
        Ok(Self { image_of, texts_of })
    }

    /// The texts of each image.
    pub fn texts_of(&self) -> &[Vec<usize>] {
        &self.texts_of
    }

    /// The image of each text, as a list of the one that is right.
    pub fn images_of(&self) -> Vec<Vec<usize>> {
        self.image_of.iter().map(|&image| vec![image]).collect()
    }

    /// The figures of `image_to_text` `[images, texts]` and `text_to_image` `[texts, images]`, higher scores being better.
    ///
    /// # Errors
    /// As for [`ranks`]; no images or no texts.
    pub fn both_ways(
        &self,
        image_to_text: &[Vec<f32>],
        text_to_image: &[Vec<f32>],
    ) -> Result<BothWays, EvaluationError> {
        Ok(BothWays::new(
            share(&ranks(image_to_text, &self.texts_of)?, "images")?,
            share(&ranks(text_to_image, &self.images_of())?, "texts")?,
        ))
    }
}

/// The figures of LAVIS under its names, in percent: `txt` is text retrieval, texts by image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BothWays {
    /// Images whose best text is their own.
    pub txt_r1: f64,
    /// Images with a text of theirs among the best five.
    pub txt_r5: f64,
    /// Images with a text of theirs among the best ten.
    pub txt_r10: f64,
    /// Mean of the three.
    pub txt_r_mean: f64,
    /// Texts whose best image is theirs.
    pub img_r1: f64,
    /// Texts with their image among the best five.
    pub img_r5: f64,
    /// Texts with their image among the best ten.
    pub img_r10: f64,
    /// Mean of the three.
    pub img_r_mean: f64,
    /// Mean of both means.
    pub r_mean: f64,
    /// What chooses a checkpoint: text retrieval alone, as in LAVIS.
    pub agg_metrics: f64,
}

impl BothWays {
    fn new(texts: [f64; 3], images: [f64; 3]) -> Self {
        let mean = |shares: [f64; 3]| shares.iter().sum::<f64>() / 3.0;
        let ([txt_r1, txt_r5, txt_r10], [img_r1, img_r5, img_r10]) = (texts, images);
        let (txt_r_mean, img_r_mean) = (mean(texts), mean(images));
        Self {
            txt_r1,
            txt_r5,
            txt_r10,
            txt_r_mean,
            img_r1,
            img_r5,
            img_r10,
            img_r_mean,
            r_mean: (txt_r_mean + img_r_mean) / 2.0,
            agg_metrics: txt_r_mean,
        }
    }

    /// The figures by their names, in the order of LAVIS.
    pub fn named(&self) -> [(&'static str, f64); 10] {
        [
            ("txt_r1", self.txt_r1),
            ("txt_r5", self.txt_r5),
            ("txt_r10", self.txt_r10),
            ("txt_r_mean", self.txt_r_mean),
            ("img_r1", self.img_r1),
            ("img_r5", self.img_r5),
            ("img_r10", self.img_r10),
            ("img_r_mean", self.img_r_mean),
            ("r_mean", self.r_mean),
            ("agg_metrics", self.agg_metrics),
        ]
    }
}

/// For each row of `scores` `[queries, gallery]`, how many items stand before the best of its `positives`, ties counted against
/// it as in [`recall`](super::recall); none for a query without any.
///
/// # Errors
/// Rows of unequal length or more or fewer than `positives`, an index outside of the gallery, a NaN.
pub fn ranks(scores: &[Vec<f32>], positives: &[Vec<usize>]) -> Result<Vec<Option<usize>>, EvaluationError> {
    let gallery = scores.first().map_or(0, Vec::len);
    super::same_length("queries with a list of positives", scores.len(), positives.len())?;
    super::check_within(gallery, positives)?;
    check_matrix("scores", scores, gallery)?;
    let rows = scores.iter().zip(positives);
    Ok(rows
        .map(|(row, positives)| (!positives.is_empty()).then(|| rank(row, positives)))
        .collect())
}

/// Percent of `ranks` below 1, 5 and 10. Who has no right answer is a miss, and counts.
fn share(ranks: &[Option<usize>], what: &'static str) -> Result<[f64; 3], EvaluationError> {
    if ranks.is_empty() {
        return Err(EvaluationError::Empty { what });
    }
    Ok([1, 5, 10].map(|k| {
        let hits = ranks.iter().flatten().filter(|rank| **rank < k).count();
        100.0 * hits as f64 / ranks.len() as f64
    }))
}
