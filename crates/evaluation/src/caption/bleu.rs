//! BLEU (Papineni et al. 2002) as `pycocoevalcap/bleu/bleu_scorer.py` computes it: the reference length is that of the
//! closest reference, and two tiny terms keep an absent match from a division by nothing.

use super::ngrams::{LONGEST, NGrams};
use super::{CaptionScore, CaptionedImage, check};
use crate::EvaluationError;

/// BLEU-1 to BLEU-4.
pub const BLEU_ORDERS: usize = LONGEST;

/// Added to the matches.
const TINY: f64 = 1e-15;
/// Added to what the matches are divided by.
const SMALL: f64 = 1e-9;

/// What BLEU needs to know of one image, or of all of them.
#[derive(Default)]
struct Matches {
    candidate_words: usize,
    reference_words: usize,
    possible: [usize; BLEU_ORDERS],
    found: [usize; BLEU_ORDERS],
}

/// BLEU-1 to BLEU-4 of tokenised captions: BLEU-`n` at `n - 1`. Over all images the matches are added up before they are
/// divided.
///
/// # Errors
/// No images, an image without a reference.
pub fn bleu(images: &[CaptionedImage]) -> Result<[CaptionScore; BLEU_ORDERS], EvaluationError> {
    check(images)?;
    let matches: Vec<Matches> = images.iter().map(Matches::of).collect();
    let total = matches
        .iter()
        .fold(Matches::default(), |total, one| total.plus(one))
        .scores();
    let per_image: Vec<[f64; BLEU_ORDERS]> = matches.iter().map(Matches::scores).collect();
    Ok(std::array::from_fn(|order| CaptionScore {
        corpus: total[order],
        per_image: per_image.iter().map(|scores| scores[order]).collect(),
    }))
}

impl Matches {
    fn of(image: &CaptionedImage) -> Self {
        let candidate = NGrams::of(&image.candidate);
        let references: Vec<NGrams> = image
            .references
            .iter()
            .map(|reference| NGrams::of(reference))
            .collect();
        // Of two references equally close the shorter one counts.
        let reference_words = references
            .iter()
            .map(|reference| reference.words)
            .min_by_key(|&words| (words.abs_diff(candidate.words), words))
            .unwrap_or(0);
        Self {
            candidate_words: candidate.words,
            reference_words,
            possible: std::array::from_fn(|n| candidate.words.saturating_sub(n)),
            found: std::array::from_fn(|n| {
                let most = |run| {
                    references
                        .iter()
                        .filter_map(|other| other.counts[n].get(run))
                        .max()
                };
                candidate.counts[n]
                    .iter()
                    .filter_map(|(run, &count)| most(run).map(|&most| count.min(most)))
                    .sum()
            }),
        }
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            candidate_words: self.candidate_words + other.candidate_words,
            reference_words: self.reference_words + other.reference_words,
            possible: std::array::from_fn(|n| self.possible[n] + other.possible[n]),
            found: std::array::from_fn(|n| self.found[n] + other.found[n]),
        }
    }

    fn scores(&self) -> [f64; BLEU_ORDERS] {
        let ratio = (self.candidate_words as f64 + TINY) / (self.reference_words as f64 + SMALL);
        let brevity = if ratio < 1.0 {
            (1.0 - 1.0 / ratio).exp()
        } else {
            1.0
        };
        let mut product = 1.0;
        std::array::from_fn(|n| {
            product *= (self.found[n] as f64 + TINY) / (self.possible[n] as f64 + SMALL);
            product.powf(1.0 / (n + 1) as f64) * brevity
        })
    }
}
