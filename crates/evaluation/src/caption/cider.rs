//! CIDEr (Vedantam et al. 2015) in its CIDEr-D form, as `pycocoevalcap/cider/cider_scorer.py` computes it: clipped counts,
//! a Gaussian penalty on the difference in length, and rarity counted over the references of the images given.

use std::collections::BTreeMap;

use super::ngrams::{LONGEST, NGrams};
use super::{CaptionScore, CaptionedImage, check, mean};
use crate::EvaluationError;

/// Width, in words, of the penalty on length.
const SIGMA: f64 = 6.0;
/// A perfect caption of rare words scores this.
const SCALE: f64 = 10.0;

/// CIDEr of tokenised captions, about 0 to 10; over all images the mean. The rarity of a run of words comes from the
/// references of `images`, so scores of different sets do not compare, and one image alone scores 0.
///
/// # Errors
/// No images, an image without a reference.
pub fn cider(images: &[CaptionedImage]) -> Result<CaptionScore, EvaluationError> {
    check(images)?;
    let candidates: Vec<NGrams> = images.iter().map(|image| NGrams::of(&image.candidate)).collect();
    let references: Vec<Vec<NGrams>> = images
        .iter()
        .map(|image| {
            image
                .references
                .iter()
                .map(|reference| NGrams::of(reference))
                .collect()
        })
        .collect();
    let rarity = Rarity::of(&references);
    let per_image: Vec<f64> = candidates
        .iter()
        .zip(&references)
        .map(|(candidate, references)| rarity.score(candidate, references))
        .collect();
    Ok(CaptionScore {
        corpus: mean(&per_image),
        per_image,
    })
}

/// In how many images a run of words occurs among the references.
struct Rarity<'a> {
    images: usize,
    occurs_in: BTreeMap<&'a [&'a str], usize>,
}

/// A caption with its runs of words weighted by rarity.
struct Weighted<'a> {
    weights: [BTreeMap<&'a [&'a str], f64>; LONGEST],
    norms: [f64; LONGEST],
    /// The number of pairs of words: what the original takes for the length.
    length: usize,
}

impl<'a> Rarity<'a> {
    fn of(references: &'a [Vec<NGrams<'a>>]) -> Self {
        let mut occurs_in = BTreeMap::new();
        for references in references {
            let mut runs: Vec<&[&str]> = references
                .iter()
                .flat_map(|reference| reference.counts.iter())
                .flat_map(|counts| counts.keys().map(Vec::as_slice))
                .collect();
            runs.sort_unstable();
            runs.dedup();
            for run in runs {
                *occurs_in.entry(run).or_insert(0) += 1;
            }
        }
        Self {
            images: references.len(),
            occurs_in,
        }
    }

    fn weigh<'b>(&self, caption: &'b NGrams<'b>) -> Weighted<'b> {
        let images = (self.images as f64).ln();
        let weights = caption.counts.each_ref().map(|counts| {
            counts
                .iter()
                .map(|(run, &count)| {
                    let occurs_in = self.occurs_in.get(run.as_slice()).copied().unwrap_or(1);
                    (run.as_slice(), count as f64 * (images - (occurs_in as f64).ln()))
                })
                .collect::<BTreeMap<_, _>>()
        });
        Weighted {
            norms: weights
                .each_ref()
                .map(|weights| weights.values().map(|weight| weight * weight).sum::<f64>().sqrt()),
            weights,
            length: caption.words.saturating_sub(1),
        }
    }

    fn score(&self, candidate: &NGrams, references: &[NGrams]) -> f64 {
        let candidate = self.weigh(candidate);
        let similarities = references
            .iter()
            .map(|reference| candidate.similarity(&self.weigh(reference)));
        SCALE * similarities.sum::<f64>() / references.len() as f64
    }
}

impl Weighted<'_> {
    /// The mean over the lengths of runs.
    fn similarity(&self, reference: &Weighted) -> f64 {
        let difference = self.length as f64 - reference.length as f64;
        let penalty = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
        let cosines = (0..LONGEST).map(|n| {
            let product: f64 = self.weights[n]
                .iter()
                .filter_map(|(run, &weight)| {
                    reference.weights[n]
                        .get(run)
                        .map(|&other| weight.min(other) * other)
                })
                .sum();
            let norms = self.norms[n] * reference.norms[n];
            if norms == 0.0 { product } else { product / norms }
        });
        penalty * cosines.sum::<f64>() / LONGEST as f64
    }
}
