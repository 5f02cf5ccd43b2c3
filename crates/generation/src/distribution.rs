//! From logits to probabilities, and from probabilities to a token.

use std::cmp::Ordering;

use blip2_core::NextTokenModel;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::GenerationConfig;

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

/// Temperature, top-k and top-p, in this order, as `transformers` applies them: what is cut becomes `-inf`. At least the
/// `kept` likeliest stay.
pub(crate) fn narrow(scores: &mut [f32], config: &GenerationConfig, kept: usize) {
    scores.iter_mut().for_each(|score| *score /= config.temperature);
    let top_k = config.top_k.max(kept);
    if config.top_k > 0 && top_k < scores.len() {
        let mut sorted = scores.to_vec();
        let (_, smallest, _) = sorted.select_nth_unstable_by(top_k - 1, |a, b| b.total_cmp(a));
        let smallest = *smallest;
        scores
            .iter_mut()
            .filter(|score| **score < smallest)
            .for_each(|score| *score = f32::NEG_INFINITY);
    }
    if config.top_p < 1.0 {
        keep_top_p(scores, f64::from(config.top_p), kept);
    }
}

/// Cuts the unlikeliest tokens that together have at most `1 - top_p`; the `kept` likeliest always stay.
fn keep_top_p(scores: &mut [f32], top_p: f64, kept: usize) {
    let Some(log_probabilities) = log_softmax(scores) else {
        return;
    };
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| {
        log_probabilities[*a]
            .total_cmp(&log_probabilities[*b])
            .then(b.cmp(a))
    });
    order.truncate(order.len().saturating_sub(kept));
    let mut sum = 0.0;
    for token in order {
        sum += f64::from(log_probabilities[token]).exp();
        if sum > 1.0 - top_p {
            break;
        }
        scores[token] = f32::NEG_INFINITY;
    }
}

/// What decides the draws of text `number` of a row.
pub(crate) fn generator(seed: u64, stream: u64, number: usize) -> ChaCha8Rng {
    let parts = [seed, stream, number as u64, 0].map(u64::to_le_bytes);
    let mut key = [0; 32];
    key.copy_from_slice(parts.as_flattened());
    ChaCha8Rng::from_seed(key)
}

/// Draws a token by its probability.
pub(crate) fn draw(log_probabilities: &[f32], generator: &mut ChaCha8Rng) -> Option<usize> {
    let probability = |token: usize| f64::from(log_probabilities[token]).exp();
    let total: f64 = (0..log_probabilities.len()).map(probability).sum();
    let mut left = generator.random::<f64>() * total;
    let mut last = None;
    for token in 0..log_probabilities.len() {
        let share = probability(token);
        if share > 0.0 {
            last = Some(token);
            if left < share {
                break;
            }
        }
        left -= share;
    }
    last
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
