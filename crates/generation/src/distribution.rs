//! From logits to probabilities, and to the candidates of beam search.

use std::cmp::Ordering;

use blip2_core::NextTokenModel;
use burn::tensor::DType;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The logits of all rows, where they can be read.
pub(crate) struct Logits {
    values: Vec<f32>,
    vocabulary: usize,
}

impl Logits {
    pub(crate) fn of(model: &dyn NextTokenModel) -> Self {
        let logits = model.logits();
        let [_, vocabulary] = logits.dims();
        Self {
            values: logits
                .cast(DType::F32)
                .into_data()
                .try_into_vec_as::<f32>()
                .expect("logits are numbers"),
            vocabulary,
        }
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.vocabulary..(row + 1) * self.vocabulary]
    }
}

/// `scores - ln(sum(exp(scores)))`; `None` where that is not a number.
pub(crate) fn log_softmax(scores: &[f32]) -> Option<Vec<f32>> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|score| f64::from(score - largest).exp()).sum();
    let normalizer = f64::from(largest) + sum.ln();
    normalizer.is_finite().then(|| {
        scores
            .iter()
            .map(|score| (f64::from(*score) - normalizer) as f32)
            .collect()
    })
}

/// Index of the largest score, the first of equals; `None` where no token is allowed.
pub(crate) fn likeliest(scores: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (token, score) in scores.iter().enumerate() {
        if *score > best.map_or(f32::NEG_INFINITY, |best| scores[best]) {
            best = Some(token);
        }
    }
    best
}

/// A continuation that beam search considers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) beam: usize,
    pub(crate) token: usize,
    pub(crate) score: f32,
}

/// The `count` best candidates, best first, earlier before later where scores are equal. Impossible ones are left out.
pub(crate) fn best(candidates: impl Iterator<Item = Candidate>, count: usize) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = Vec::with_capacity(count + 1);
    for candidate in candidates {
        let full = best.len() == count;
        if candidate.score == f32::NEG_INFINITY || full && best[count - 1].score >= candidate.score {
            continue;
        }
        let place = best.partition_point(|other| other.score.total_cmp(&candidate.score) != Ordering::Less);
        best.insert(place, candidate);
        best.truncate(count);
    }
    best
}

/// `count` candidates drawn without replacement, each in proportion to the exponential of its score, in the order of the
/// draws: those that come first once each score got noise of Gumbel's distribution (Kool et al., 2019). Fewer where fewer are
/// possible.
pub(crate) fn drawn(
    candidates: impl Iterator<Item = Candidate>,
    count: usize,
    generator: &mut ChaCha8Rng,
) -> Vec<Candidate> {
    let mut noisy: Vec<(f64, Candidate)> = candidates
        .filter(|candidate| candidate.score > f32::NEG_INFINITY)
        .map(|candidate| {
            let noise = -(-generator.random::<f64>().ln()).ln();
            (f64::from(candidate.score) + noise, candidate)
        })
        .collect();
    let first = |a: &(f64, Candidate), b: &(f64, Candidate)| b.0.total_cmp(&a.0);
    if count < noisy.len() {
        noisy.select_nth_unstable_by(count, first);
        noisy.truncate(count);
    }
    noisy.sort_by(first);
    noisy.into_iter().map(|(_, candidate)| candidate).collect()
}
