//! What of a text that is being written is not told yet: a word that may still grow, and the tokens that make it.

use std::collections::VecDeque;

use blip2::TokenScores;

use crate::answer::Said;

/// A token that was chosen, with its scores.
pub(crate) struct ScoredToken {
    pub(crate) id: u32,
    pub(crate) scores: TokenScores,
    /// The ids in front of it, as far as its text depends on them.
    pub(crate) before: Vec<u32>,
}

/// How much of a text was told, and the tokens that were not.
#[derive(Default)]
pub(crate) struct Withheld {
    /// Bytes of the text.
    told: usize,
    /// Each with the length of the text that ends with it.
    tokens: VecDeque<(usize, ScoredToken)>,
}

impl Withheld {
    /// Keeps a token that ends a text of `length` bytes.
    pub(crate) fn keep(&mut self, length: usize, token: ScoredToken) {
        self.tokens.push_back((length, token));
    }

    /// Whether `text`, the beginning of what is written, holds more than was told.
    pub(crate) fn is_news(&self, text: &str) -> bool {
        text.len() > self.told
    }

    /// What of `text`, the beginning of what is written, was not told before; all tokens with it where they are `over`.
    pub(crate) fn tell(&mut self, text: &str, over: bool) -> Said {
        let news = text.get(self.told..).unwrap_or_default().to_owned();
        self.told = self.told.max(text.len());
        let told = self.told;
        let count = match over {
            true => self.tokens.len(),
            false => self
                .tokens
                .iter()
                .take_while(|(length, _)| *length <= told)
                .count(),
        };
        Said {
            text: news,
            tokens: self.tokens.drain(..count).map(|(_, token)| token).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32) -> ScoredToken {
        ScoredToken {
            id,
            scores: TokenScores {
                log_probability: 0.0,
                likeliest: Vec::new(),
            },
            before: Vec::new(),
        }
    }

    #[test]
    fn tokens_are_told_with_their_text_and_not_before() {
        let mut withheld = Withheld::default();
        let ids = |said: &Said| said.tokens.iter().map(|token| token.id).collect::<Vec<_>>();
        withheld.keep(1, token(0));
        withheld.keep(6, token(1));
        let said = withheld.tell("a ", false);
        assert_eq!((said.text.as_str(), ids(&said)), ("a ", vec![0]));
        assert!(!withheld.is_news("a "));
        withheld.keep(8, token(2));
        let said = withheld.tell("a bomber ", false);
        assert_eq!((said.text.as_str(), ids(&said)), ("bomber ", vec![1, 2]));
        withheld.keep(15, token(3));
        let said = withheld.tell("a bomber jac", true);
        assert_eq!((said.text.as_str(), ids(&said)), ("jac", vec![3]));
    }
}
