//! Nucleus sampling (top-p; Holtzman et al., 2020), with temperature and top-k before it: from probabilities to a drawn token.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::GenerationConfig;
use crate::distribution::log_softmax;

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
