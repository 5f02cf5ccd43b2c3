//! Generated words against true ones (answer normalisation and bag-of-words F1 as SQuAD defines them, Rajpurkar et al.
//! 2016), and what words cost or earn that know nothing of the picture.

use std::collections::BTreeMap;

use crate::EvaluationError;

/// An answer as it is compared: lower case, without ASCII punctuation and articles, words one blank apart.
pub fn normalise_answer(answer: &str) -> String {
    let plain: String = answer
        .to_lowercase()
        .chars()
        .filter(|letter| !letter.is_ascii_punctuation())
        .collect();
    let words: Vec<&str> = plain
        .split_whitespace()
        .filter(|word| !matches!(*word, "a" | "an" | "the"))
        .collect();
    words.join(" ")
}

/// Whether the two are the same answer once normalised.
pub fn exact_match(predicted: &str, truth: &str) -> bool {
    normalise_answer(predicted) == normalise_answer(truth)
}

/// Harmonic mean, 0 to 1, of precision and recall of the predicted words, without order and each counted as often as it
/// occurs. Two answers that are empty once normalised agree.
pub fn token_f1(predicted: &str, truth: &str) -> f64 {
    let (predicted, truth) = (normalise_answer(predicted), normalise_answer(truth));
    let (predicted, truth) = (
        counts(predicted.split_whitespace()),
        counts(truth.split_whitespace()),
    );
    let words = predicted.values().sum::<usize>() + truth.values().sum::<usize>();
    if words == 0 {
        return 1.0;
    }
    let shared: usize = predicted
        .iter()
        .filter_map(|(word, &count)| truth.get(word).map(|&other| count.min(other)))
        .sum();
    2.0 * shared as f64 / words as f64
}

/// Entropy, in nats a token, of the tokens of all `texts` drawn without regard to their order: the lowest loss that a
/// model reaches which predicts every token from its frequency alone.
///
/// # Errors
/// No tokens.
pub fn unigram_entropy<Text: AsRef<[u32]>>(texts: &[Text]) -> Result<f64, EvaluationError> {
    let counts = counts(texts.iter().flat_map(|text| text.as_ref()));
    let total = counts.values().sum::<usize>() as f64;
    if counts.is_empty() {
        return Err(EvaluationError::Empty { what: "tokens" });
    }
    Ok(counts
        .values()
        .map(|&count| {
            let share = count as f64 / total;
            -share * share.ln()
        })
        .sum())
}

/// The text that occurs most often, the first in alphabetical order where several do; none of no texts.
pub fn most_frequent<Text: AsRef<str>>(texts: &[Text]) -> Option<&str> {
    let counts = counts(texts.iter().map(AsRef::as_ref));
    let most = counts.values().max().copied()?;
    counts
        .into_iter()
        .find(|&(_, count)| count == most)
        .map(|(text, _)| text)
}

/// In the order of the keys, so that sums over them are the same in every run.
fn counts<Key: Ord>(keys: impl Iterator<Item = Key>) -> BTreeMap<Key, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}
