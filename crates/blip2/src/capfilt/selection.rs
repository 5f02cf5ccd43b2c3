//! Which captions compete, and which of them are kept.

use std::collections::HashSet;

use blip2_data::text;
use serde::{Deserialize, Serialize};

/// Where a caption is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The picture came with it.
    Web,
    /// The captioner wrote it.
    Model,
}

/// A caption before it is ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// As it was found or written, without white space around it.
    pub text: String,
    /// By whom.
    pub origin: Origin,
}

/// A caption after it was ranked.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The caption.
    pub text: String,
    /// By whom.
    pub origin: Origin,
    /// Its cosine with the picture.
    pub score: f64,
}

/// The captions in `web`, then those that were `written`, each once: what training cannot tell apart, because it cleans captions
/// ([`text::caption`]), counts as one, and the first stays. What cleaning leaves nothing of is no caption.
pub fn candidates(web: &[String], written: &[String]) -> Vec<Candidate> {
    let mut seen = HashSet::new();
    let all = web.iter().map(|text| (text, Origin::Web));
    let all = all.chain(written.iter().map(|text| (text, Origin::Model)));
    all.filter(|(caption, _)| {
        let clean = text::caption(caption, "");
        !clean.is_empty() && seen.insert(clean)
    })
    .map(|(caption, origin)| Candidate {
        text: caption.trim().to_owned(),
        origin,
    })
    .collect()
}

/// The `keep` candidates with the highest of `scores`, best first; of equals the earlier one, so that a picture's own captions
/// come before written ones.
pub fn best(candidates: Vec<Candidate>, scores: &[f64], keep: usize) -> Vec<Kept> {
    let mut ranked: Vec<Kept> = candidates
        .into_iter()
        .zip(scores)
        .map(|(Candidate { text, origin }, &score)| Kept { text, origin, score })
        .collect();
    // Stable: equals stay in their order.
    ranked.sort_by(|left, right| right.score.total_cmp(&left.score));
    ranked.truncate(keep);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn kept(scores: &[f64], keep: usize) -> Vec<(String, Origin)> {
        let all = candidates(&texts(&["web one", "web two"]), &texts(&["three", "four"]));
        let kept = best(all, scores, keep);
        kept.into_iter().map(|one| (one.text, one.origin)).collect()
    }

    #[test]
    fn the_best_are_kept_best_first_wherever_they_are_from() {
        let found = kept(&[0.1, 0.3, -0.2, 0.9], 2);
        let expected = [("four", Origin::Model), ("web two", Origin::Web)];
        assert_eq!(found, expected.map(|(text, origin)| (text.to_owned(), origin)));
    }

    #[test]
    fn of_equals_the_pictures_own_comes_first() {
        let found: Vec<String> = kept(&[0.5, 0.5, 0.5, 0.5], 3)
            .into_iter()
            .map(|(text, _)| text)
            .collect();
        assert_eq!(found, ["web one", "web two", "three"]);
    }

    #[test]
    fn fewer_than_asked_for_are_all_kept() {
        assert_eq!(kept(&[0.1, 0.2, 0.3, 0.4], 9).len(), 4);
        assert!(best(Vec::new(), &[], 2).is_empty());
    }

    #[test]
    fn what_training_cannot_tell_apart_competes_once() {
        let all = candidates(
            &texts(&[" A dog! ", "a dog", ""]),
            &texts(&["a  dog", "a cat", "  ", "a cat", "!"]),
        );
        let found: Vec<(&str, Origin)> = all.iter().map(|one| (one.text.as_str(), one.origin)).collect();
        assert_eq!(found, [("A dog!", Origin::Web), ("a cat", Origin::Model)]);
    }
}
