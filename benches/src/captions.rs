//! The captions that both sides learn from: `captions.txt`, one of 6 to 20 words a line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use blip2_data::text::{BertTokenizer, Padding};

const CAPTIONS: &str = include_str!("../captions.txt");

/// `count` captions, beginning anew where there are no more. With `tokens`, each is repeated or cut to the words that, with
/// BERT's two special tokens, make so many; every word is one token.
pub(crate) fn captions(count: usize, tokens: Option<usize>) -> Vec<String> {
    let lengthened = |caption: &str| match tokens {
        None => caption.to_owned(),
        Some(tokens) => {
            let words: Vec<&str> = caption
                .split_whitespace()
                .cycle()
                .take(tokens.saturating_sub(2))
                .collect();
            words.join(" ")
        }
    };
    CAPTIONS.lines().cycle().take(count).map(lengthened).collect()
}

/// The captions as ids of BERT's vocabulary, which `cargo xtask assets` fetched.
pub(crate) fn token_ids(count: usize, tokens: Option<usize>) -> Result<Vec<Vec<u32>>> {
    let tokenizer = BertTokenizer::from_file(&home()?.join("assets/bert/vocab.txt"))?;
    captions(count, tokens)
        .iter()
        .map(|caption| {
            let mut batch = tokenizer.encode(&[caption], tokens.unwrap_or(32), Padding::Longest)?;
            batch.ids.pop().context("one text gives one row")
        })
        .collect()
}

/// The cache folder.
pub(crate) fn home() -> Result<PathBuf> {
    std::env::var_os("BLIP2_HOME")
        .map(PathBuf::from)
        .context("BLIP2_HOME is not set: start this with `cargo xtask bench`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_have_six_to_twenty_words_or_as_many_as_asked_for() {
        let words = |caption: &String| caption.split_whitespace().count();
        let lengths: Vec<usize> = captions(16, None).iter().map(words).collect();
        assert_eq!(
            (lengths.iter().min(), lengths.iter().max()),
            (Some(&6), Some(&20))
        );
        assert!(
            captions(40, Some(128))
                .iter()
                .all(|caption| words(caption) == 126)
        );
    }
}
