//! Byte-level BPE, put together of a vocabulary and its merges: how GPT-2 and OPT were published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blip2_core::tokenizer_config::{Added, TokenizerConfig, add_tokens};
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use crate::TokenizerError;
use crate::tokenizer_files::read;

/// The files of a slow tokenizer of `transformers`.
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";

/// Where Qwen2 cuts: contractions, words with what stands before them, single digits, marks with the line breaks behind them,
/// line breaks, other space.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Where Llama 3 cuts: the same, with up to three digits together.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How a text is cut before merging.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// By GPT-2's pattern.
    Gpt2,
    /// The same, with digits by themselves.
    SmolLm,
    /// By Qwen2's pattern, in composed characters (NFC).
    Qwen2,
    /// By Llama 3's pattern; a piece that the vocabulary has is one id, whatever the merges say.
    Llama3,
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
            "llama3" | "llama-v3" | "llama-bpe" => Ok(Self::Llama3),
            _ => Err(format!(
                "it cuts text as `{name}` does; `gpt-2`, `smollm`, `qwen2` and `llama-bpe` are supported"
            )),
        }
    }

    /// With `leading_space`, a text and what follows an added token begin with a space where they have none; so does, as
    /// `transformers` has it, each piece of a pattern other than GPT-2's.
    fn pre_tokenizer(self, leading_space: bool) -> tokenizers::Result<PreTokenizerWrapper> {
        let bytes = |by_pattern| ByteLevel::new(leading_space, true, by_pattern).into();
        let by = |pattern: &str| {
            let pattern = SplitPattern::Regex(pattern.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?;
            tokenizers::Result::Ok(Sequence::new(vec![split.into(), bytes(false)]).into())
        };
        Ok(match self {
            Self::Gpt2 => bytes(true),
            Self::SmolLm => Sequence::new(vec![Digits::new(true).into(), bytes(true)]).into(),
            Self::Qwen2 => by(QWEN2)?,
            Self::Llama3 => by(LLAMA3)?,
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
    let bpe = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .ignore_merges(matches!(cut, Cut::Llama3))
        .build()?;
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(cut.pre_tokenizer(false)?));
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

/// The tokenizer of these files in `folder`, which makes the `cut`. What `config` adds is found in a text first; where it names no
/// special token, those with the ids of `special` are no text.
///
/// # Errors
/// [`TokenizerError::Unusable`] where a file is damaged, or a special id is not in it.
pub(crate) fn from_files(
    folder: &Path,
    cut: Cut,
    special: &[u32],
    config: &TokenizerConfig,
) -> Result<Tokenizer, TokenizerError> {
    let path = folder.join(VOCABULARY);
    let unusable = |reason: String| TokenizerError::Unusable {
        path: path.clone(),
        reason,
    };
    let merges = read(&folder.join(MERGES))?;
    let vocabulary: Result<BTreeMap<String, u32>, _> = serde_json::from_slice(&read(&path)?);
    let mut vocabulary = vocabulary.map_err(|error| unusable(error.to_string()))?;
    let merges = pairs(&String::from_utf8_lossy(&merges))
        .map_err(|line| unusable(format!("it does not fit {MERGES}: `{line}` is no merge of two")))?;
    let ids: BTreeSet<u32> = vocabulary.values().copied().collect();
    for token in &config.added {
        match token.id {
            Some(id) if !vocabulary.contains_key(&token.content) && !ids.contains(&id) => {
                vocabulary.insert(token.content.clone(), id);
            }
            _ => {}
        }
    }
    let mut added = config.added.clone();
    if !added.iter().any(|token| token.special) {
        for id in special {
            let token = vocabulary.iter().find(|(_, own)| *own == id);
            let (token, _) =
                token.ok_or_else(|| unusable(format!("it has no token for the special id {id}")))?;
            added.push(Added::special(token));
        }
    }
    let mut tokenizer = assemble(vocabulary.into_iter().collect(), merges, cut, [])
        .map_err(|error| unusable(format!("it does not fit {MERGES}: {error}")))?;
    if config.add_prefix_space == Some(true) {
        let spaced = cut.pre_tokenizer(true);
        tokenizer.with_pre_tokenizer(Some(spaced.map_err(|error| unusable(error.to_string()))?));
    }
    add_tokens(&mut tokenizer, &added).map_err(|error| unusable(error.to_string()))?;
    Ok(tokenizer)
}

/// The merges in the text of `merges.txt`, one a line behind the line of its version.
///
/// # Errors
/// The first line that is none.
fn pairs(text: &str) -> Result<Merges, String> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.is_empty());
    let pair = |line: &str| {
        let (left, right) = line.split_once(' ').ok_or_else(|| line.to_owned())?;
        Ok((left.to_owned(), right.to_owned()))
    };
    lines.map(pair).collect()
}
