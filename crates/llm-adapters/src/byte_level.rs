//! Byte-level BPE, put together of a vocabulary and its merges: how GPT-2 and OPT were published.

use std::path::Path;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer};

use crate::TokenizerError;

/// The files of a slow tokenizer of `transformers`.
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// A tokenizer that cuts a text by `split` before merging, and finds the `added` tokens in it first.
pub(crate) fn assemble(
    vocabulary: Vocab,
    merges: Merges,
    split: impl Into<PreTokenizerWrapper>,
    added: impl IntoIterator<Item = AddedToken>,
) -> tokenizers::Result<Tokenizer> {
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(split));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.add_tokens(added)?;
    Ok(tokenizer)
}

/// Whether `folder` holds `vocab.json` and `merges.txt`.
pub(crate) fn has_files(folder: &Path) -> bool {
    folder.join(VOCABULARY).is_file() && folder.join(MERGES).is_file()
}

/// The tokenizer of these files in `folder`, to which the ids of `special` are no text.
///
/// # Errors
/// [`TokenizerError::Unusable`] where a file is damaged, or a special id is not in it.
pub(crate) fn from_files(folder: &Path, special: &[u32]) -> Result<Tokenizer, TokenizerError> {
    let unusable = |reason: String| TokenizerError::Unusable {
        path: folder.join(VOCABULARY),
        reason,
    };
    let [vocabulary, merges] = [VOCABULARY, MERGES].map(|name| folder.join(name));
    let text = |path: &Path| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| unusable(format!("{} is no text", path.display())))
    };
    let (vocabulary, merges) = BPE::read_file(&text(&vocabulary)?, &text(&merges)?)
        .map_err(|error| unusable(format!("it does not fit {MERGES}: {error}")))?;
    let token = |id: &u32| {
        let found = vocabulary.iter().find(|(_, own)| *own == id);
        found
            .map(|(token, _)| AddedToken::from(token.as_str(), true))
            .ok_or_else(|| unusable(format!("it has no token for the special id {id}")))
    };
    let added = special.iter().map(token).collect::<Result<Vec<_>, _>>()?;
    let split = ByteLevel::new(false, true, true);
    assemble(vocabulary, merges, split, added).map_err(|error| unusable(error.to_string()))
}
