//! Which pairs of images and texts are to be matched, and the scores that come of it.

use super::{rerank, with_reranked};
use crate::EvaluationError;

/// Re-ranking both ways (LAVIS `compute_sim_matrix`): the best k texts of each image and the best k images of each text. A pair
/// that is among both is matched once.
#[derive(Debug, Clone)]
pub struct Reranking {
    /// `[images, texts]`.
    image_to_text: Vec<Vec<f32>>,
    /// `[texts, images]`.
    text_to_image: Vec<Vec<f32>>,
    /// The candidates of each image and of each text.
    texts: Vec<Vec<usize>>,
    images: Vec<Vec<usize>>,
    /// For each image its texts of either way, by rising index.
    pairs: Vec<Vec<usize>>,
}

impl Reranking {
    /// The best `k` of `similarities` `[images, texts]`, all of them where the gallery is smaller; with `k` 0 similarities
    /// alone decide.
    ///
    /// # Errors
    /// No images, no texts, rows of unequal length.
    pub fn new(similarities: Vec<Vec<f32>>, k: usize) -> Result<Self, EvaluationError> {
        let count = similarities.first().map_or(0, Vec::len);
        if count == 0 {
            return Err(EvaluationError::Empty {
                what: "images or texts",
            });
        }
        for (image, row) in similarities.iter().enumerate() {
            super::same_length(&format!("similarities of image {image}"), count, row.len())?;
        }
        let transposed: Vec<Vec<f32>> = (0..count)
            .map(|text| similarities.iter().map(|row| row[text]).collect())
            .collect();
        let (texts, images) = (rerank(&similarities, k), rerank(&transposed, k));
        let mut pairs = texts.clone();
        for (text, images) in images.iter().enumerate() {
            images.iter().for_each(|&image| pairs[image].push(text));
        }
        for texts in &mut pairs {
            texts.sort_unstable();
            texts.dedup();
        }
        Ok(Self {
            image_to_text: similarities,
            text_to_image: transposed,
            texts,
            images,
            pairs,
        })
    }

    /// For each image the texts that it must be matched with, by rising index.
    pub fn pairs(&self) -> &[Vec<usize>] {
        &self.pairs
    }

    /// The scores of both ways, `[images, texts]` and `[texts, images]`: similarity and `matching` added for the candidates of
    /// each query, -100 for all others. `matching[image][n]` belongs to `pairs()[image][n]`.
    ///
    /// # Errors
    /// As for [`with_reranked`].
    pub fn scores(&self, matching: &[Vec<f32>]) -> Result<[Vec<Vec<f32>>; 2], EvaluationError> {
        super::same_length("images with matching scores", self.pairs.len(), matching.len())?;
        for (image, (texts, scores)) in self.pairs.iter().zip(matching).enumerate() {
            super::same_length(
                &format!("matching scores of image {image}"),
                texts.len(),
                scores.len(),
            )?;
        }
        if self.pairs.iter().all(Vec::is_empty) {
            return Ok([self.image_to_text.clone(), self.text_to_image.clone()]);
        }
        let of = |image: usize, text: usize| {
            let place = self.pairs[image].binary_search(&text);
            matching[image][place.expect("every candidate is among the pairs")]
        };
        let by_image: Vec<Vec<f32>> = (0..)
            .zip(&self.texts)
            .map(|(image, texts)| texts.iter().map(|&text| of(image, text)).collect())
            .collect();
        let by_text: Vec<Vec<f32>> = (0..)
            .zip(&self.images)
            .map(|(text, images)| images.iter().map(|&image| of(image, text)).collect())
            .collect();
        Ok([
            with_reranked(&self.image_to_text, &self.texts, &by_image)?,
            with_reranked(&self.text_to_image, &self.images, &by_text)?,
        ])
    }
}
