//! Captions against what people wrote, as the COCO caption scorer measures them (Chen et al. 2015; pycocoevalcap 1.2):
//! BLEU, ROUGE-L and CIDEr of captions that are already tokenised as that scorer does it. Its tokeniser, METEOR and SPICE
//! are not here, and nothing stands in for them.

mod bleu;
mod cider;
mod ngrams;
mod rouge;

pub use bleu::{BLEU_ORDERS, bleu};
pub use cider::cider;
pub use rouge::rouge_l;

use crate::EvaluationError;

/// What was said of one image, and what people said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionedImage {
    /// The caption to be judged, tokens one blank apart.
    pub candidate: String,
    /// What it is judged by, at least one, likewise.
    pub references: Vec<String>,
}

/// A figure over all images, and that of each.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptionScore {
    /// Over all images; not always the mean.
    pub corpus: f64,
    /// For each image, in the order given.
    pub per_image: Vec<f64>,
}

fn check(images: &[CaptionedImage]) -> Result<(), EvaluationError> {
    if images.is_empty() {
        return Err(EvaluationError::Empty { what: "images" });
    }
    match images.iter().position(|image| image.references.is_empty()) {
        Some(image) => Err(EvaluationError::NoReference { image }),
        None => Ok(()),
    }
}

fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len() as f64
}
