//! Rules that change scores before a token is chosen, in the order of `transformers`.

use std::collections::BTreeSet;

use crate::GenerationConfig;

/// Applies repetition penalty, n-gram rule and minimal length to `scores` of the token that follows `text`, of which the
/// last `new` tokens were written by the model.
pub(crate) fn apply(scores: &mut [f32], text: &[u32], new: usize, config: &GenerationConfig) {
    if config.repetition_penalty != 1.0 {
        penalize(scores, text, config.repetition_penalty);
    }
    if config.no_repeat_ngram_size > 0 {
        forbid(scores, repeats(text, config.no_repeat_ngram_size));
    }
    if new < config.min_new_tokens {
        forbid(scores, config.end_tokens.iter().copied());
    }
}

/// Keskar et al., 2019: each token of the text once, however often it stands there.
fn penalize(scores: &mut [f32], text: &[u32], penalty: f32) {
    for token in text.iter().copied().collect::<BTreeSet<u32>>() {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score < 0.0 {
                *score * penalty
            } else {
                *score / penalty
            };
        }
    }
}

fn forbid(scores: &mut [f32], tokens: impl Iterator<Item = u32>) {
    for token in tokens {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = f32::NEG_INFINITY;
        }
    }
}

/// Tokens that would complete a run of `size` tokens that `text` already has.
fn repeats(text: &[u32], size: usize) -> impl Iterator<Item = u32> {
    let end = &text[text.len().saturating_sub(size - 1)..];
    text.windows(size)
        .filter(move |run| run[..size - 1] == *end)
        .map(move |run| run[size - 1])
}
