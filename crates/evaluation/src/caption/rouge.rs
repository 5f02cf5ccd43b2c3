//! ROUGE-L (Lin 2004) as `pycocoevalcap/rouge/rouge.py` computes it: the best precision and the best recall over the
//! references, which need not come from the same one.

use super::{CaptionScore, CaptionedImage, check, mean};
use crate::EvaluationError;

/// How much more recall weighs than precision.
const BETA: f64 = 1.2;

/// ROUGE-L of tokenised captions; over all images the mean.
///
/// # Errors
/// No images, an image without a reference.
pub fn rouge_l(images: &[CaptionedImage]) -> Result<CaptionScore, EvaluationError> {
    check(images)?;
    let per_image: Vec<f64> = images.iter().map(of_image).collect();
    Ok(CaptionScore {
        corpus: mean(&per_image),
        per_image,
    })
}

fn of_image(image: &CaptionedImage) -> f64 {
    // Split at every blank: an empty caption is one empty word, as in the original.
    let candidate: Vec<&str> = image.candidate.split(' ').collect();
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in &image.references {
        let reference: Vec<&str> = reference.split(' ').collect();
        let common = longest_common_subsequence(&candidate, &reference) as f64;
        precision = precision.max(common / candidate.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

fn longest_common_subsequence(left: &[&str], right: &[&str]) -> usize {
    // `row[j]`: the longest for the words of `left` so far and the first `j` of `right`.
    let mut row = vec![0; right.len() + 1];
    for word in left {
        let mut diagonal = 0;
        for (j, other) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    row[right.len()]
}
