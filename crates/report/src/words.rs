//! Generated words beside the true ones: which of them stand in both, in the same order.

use blip2_evaluation::text::{exact_match, normalise_answer};

use crate::html::{escape, joined};

/// The true text, its words marked that `written` lacks.
pub(crate) fn truth(truth: &str, written: &str) -> String {
    marked(truth, written, "missed")
}

/// The written text, its words marked that are wrong, after a sign of whether all of it is right.
pub(crate) fn written(written: &str, truth: &str) -> String {
    let (class, sign, meaning) = match exact_match(written, truth) {
        true => ("right", "✓", "right"),
        false => ("wrong", "✗", "wrong"),
    };
    let words = match written.trim().is_empty() {
        true => "<em>nothing</em>".to_owned(),
        false => marked(written, truth, "wrong"),
    };
    format!("<span class=\"sign {class}\" title=\"{meaning}\">{sign}</span> {words}")
}

/// `text`, each word with `class` that the longest common subsequence with `other` leaves out. Articles and lone
/// punctuation say nothing and stay as they are.
fn marked(text: &str, other: &str, class: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let keys: Vec<String> = words.iter().map(|word| normalise_answer(word)).collect();
    let others: Vec<String> = other.split_whitespace().map(normalise_answer).collect();
    let common = common(&keys, &others);
    joined(
        words
            .iter()
            .zip(&keys)
            .zip(common)
            .enumerate()
            .map(|(index, ((word, key), common))| {
                let blank = if index == 0 { "" } else { " " };
                match common || key.is_empty() {
                    true => format!("{blank}{}", escape(word)),
                    false => format!("{blank}<span class=\"{class}\">{}</span>", escape(word)),
                }
            }),
    )
}

/// For each of `left` whether it belongs to the longest common subsequence with `right`.
fn common(left: &[String], right: &[String]) -> Vec<bool> {
    let mut longest = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            longest[l][r] = match left[l] == right[r] {
                true => longest[l + 1][r + 1] + 1,
                false => longest[l + 1][r].max(longest[l][r + 1]),
            };
        }
    }
    let (mut r, mut found) = (0, Vec::with_capacity(left.len()));
    for l in 0..left.len() {
        // This word belongs to it if to leave it out would shorten what can still be found.
        let belongs = longest[l][r] > longest[l + 1][r];
        if belongs {
            r += right[r..]
                .iter()
                .position(|word| *word == left[l])
                .map_or(0, |place| place + 1);
        }
        found.push(belongs);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_another_order_are_not_right() {
        let (true_text, swapped) = ("a fox left of a pizza", "a pizza left of a fox");
        let page = written(swapped, true_text);
        assert!(
            page.contains("<span class=\"wrong\">pizza</span> left of a <span class=\"wrong\">fox</span>"),
            "{page}"
        );
        assert!(page.starts_with("<span class=\"sign wrong\""));
    }

    #[test]
    fn what_is_right_is_not_marked() {
        assert_eq!(
            written("The fox, above it.", "a fox above it"),
            "<span class=\"sign right\" title=\"right\">✓</span> The fox, above it."
        );
        assert_eq!(truth("a fox above it", "The fox, above it."), "a fox above it");
    }

    #[test]
    fn what_is_missing_is_marked_in_the_truth() {
        assert_eq!(
            truth("two red apples", "two apples"),
            "two <span class=\"missed\">red</span> apples"
        );
        assert!(written("", "fox").contains("<em>nothing</em>"));
    }

    #[test]
    fn words_are_escaped() {
        assert_eq!(
            truth("<b> fox", "fox"),
            "<span class=\"missed\">&lt;b&gt;</span> fox"
        );
    }
}
