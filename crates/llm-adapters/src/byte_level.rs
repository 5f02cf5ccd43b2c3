//! Byte-level BPE, put together of a vocabulary and its merges: how GPT-2 and OPT were published.

use std::path::Path;

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use crate::TokenizerError;

/// The files of a slow tokenizer of `transformers`.
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// Where Qwen2 cuts: contractions, words with what stands before them, single digits, marks with the line breaks behind them,
/// line breaks, other space.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How a text is cut before merging.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// By GPT-2's pattern.
    Gpt2,
    /// The same, with digits by themselves.
    SmolLm,
    /// By Qwen2's pattern, in composed characters (NFC).
    Qwen2,
}

impl Cut {
    /// The kind that llama.cpp calls so.
    ///
    /// # Errors
    /// Which kinds there are.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "gpt-2" => Ok(Self::Gpt2),
            "smollm" => Ok(Self::SmolLm),
            "qwen2" => Ok(Self::Qwen2),
            _ => Err(format!(
                "it cuts text as `{name}` does; `gpt-2`, `smollm` and `qwen2` are supported"
            )),
        }
    }

    fn pre_tokenizer(self) -> tokenizers::Result<PreTokenizerWrapper> {
        let bytes = |by_pattern| ByteLevel::new(false, true, by_pattern).into();
        Ok(match self {
            Self::Gpt2 => bytes(true),
            Self::SmolLm => Sequence::new(vec![Digits::new(true).into(), bytes(true)]).into(),
            Self::Qwen2 => {
                let pattern = SplitPattern::Regex(QWEN2.to_owned());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
                Sequence::new(vec![split.into(), bytes(false)]).into()
            }
        })
    }
}

/// A tokenizer that makes the `cut` before merging, and finds the `added` tokens in a text first.
pub(crate) fn assemble(
    vocabulary: Vocab,
    merges: Merges,
    cut: Cut,
    added: impl IntoIterator<Item = AddedToken>,
) -> tokenizers::Result<Tokenizer> {
    let bpe = BPE::builder().vocab_and_merges(vocabulary, merges).build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(cut.pre_tokenizer()?));
    if let Cut::Qwen2 = cut {
        tokenizer.with_normalizer(Some(NFC))?;
    }
    tokenizer.with_decoder(Some(ByteLevel::default()));
    tokenizer.add_tokens(added)?;
    Ok(tokenizer)
}

/// Whether `folder` holds `vocab.json` and `merges.txt`.
pub(crate) fn has_files(folder: &Path) -> bool {
    folder.join(VOCABULARY).is_file() && folder.join(MERGES).is_file()
}

/// The tokenizer of these files in `folder`, which makes the `cut`, and to which the ids of `special` are no text.
///
/// # Errors
/// [`TokenizerError::Unusable`] where a file is damaged, or a special id is not in it.
pub(crate) fn from_files(folder: &Path, cut: Cut, special: &[u32]) -> Result<Tokenizer, TokenizerError> {
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
    assemble(vocabulary, merges, cut, added).map_err(|error| unusable(error.to_string()))
}
