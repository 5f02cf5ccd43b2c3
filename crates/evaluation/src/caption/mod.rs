//! Captions against what people wrote, as the COCO caption scorer measures them (Chen et al. 2015; pycocoevalcap 1.2):
//! its tokeniser, BLEU, ROUGE-L and CIDEr. METEOR and SPICE are the original Java programs, where the user has them
//! (`java`); nothing stands in for them.

mod bleu;
mod cider;
pub mod java;
mod ngrams;
mod rouge;
mod tokenise;

pub use bleu::{BLEU_ORDERS, bleu};
pub use cider::cider;
pub use rouge::rouge_l;
pub use tokenise::tokenise;

use crate::EvaluationError;

/// What was said of one image, and what people said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptionedImage {
    /// The caption to be judged: as it was written, or its tokens one blank apart.
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

/// The images with their captions cut into tokens, as [`tokenise`] does: what every score here asks for.
pub fn tokenised(images: &[CaptionedImage]) -> Vec<CaptionedImage> {
    let candidates: Vec<&str> = images.iter().map(|image| image.candidate.as_str()).collect();
    let references: Vec<&str> = images
        .iter()
        .flat_map(|image| &image.references)
        .map(String::as_str)
        .collect();
    let mut references = tokenise(&references).into_iter();
    let candidates = tokenise(&candidates).into_iter();
    candidates
        .zip(images)
        .map(|(candidate, image)| CaptionedImage {
            candidate,
            references: references.by_ref().take(image.references.len()).collect(),
        })
        .collect()
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
