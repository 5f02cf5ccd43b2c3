//! The tokenizer that the metadata of a GGUF file describes: byte-level BPE, or SentencePiece's byte pairs.

use blip2_core::weights::{GgufStore, GgufValue};
use tokenizers::{AddedToken, Tokenizer};

use crate::byte_level::{self, Cut};
use crate::tokenizer::unusable;
use crate::tokenizer_files::Family;
use crate::{LanguageTokenizer, TokenizerError, sentencepiece};

/// Types of tokens that matter here.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

impl LanguageTokenizer {
    /// Builds the tokenizer that the metadata of a GGUF file describes.
    ///
    /// # Errors
    /// [`TokenizerError`] where the metadata is incomplete or describes a tokenizer of another kind.
    pub fn from_gguf(store: &GgufStore) -> Result<Self, TokenizerError> {
        let unusable = |reason: String| unusable(store.path(), reason);
        let tokens = store.required("tokenizer.ggml.tokens", GgufValue::as_texts)?;
        let types = store.required("tokenizer.ggml.token_type", as_integers)?;
        if types.len() != tokens.len() {
            return Err(unusable(format!(
                "it has {} tokens, but the types of {}",
                tokens.len(),
                types.len()
            )));
        }
        let id = |key: &str| {
            let id = store.optional(key, GgufValue::as_u64)?;
            match id {
                Some(id) if id >= tokens.len() as u64 => Err(unusable(format!(
                    "`{key}` is {id}, outside of the {} tokens",
                    tokens.len()
                ))),
                id => Ok(id.map(|id| id as u32)),
            }
        };
        let tokenizer = match store.required("tokenizer.ggml.model", GgufValue::as_text)? {
            "gpt2" => byte_level(store, &tokens, &types)?,
            "llama" => {
                let unknown = id("tokenizer.ggml.unknown_token_id")?;
                byte_pairs(store, &tokens, &types, unknown)?
            }
            other => {
                return Err(unusable(format!(
                    "its kind is `{other}`; byte-level BPE (`gpt2`) and SentencePiece's byte pairs (`llama`) are supported"
                )));
            }
        };
        let end_of_text = id("tokenizer.ggml.eos_token_id")?
            .ok_or_else(|| unusable("metadata has no `tokenizer.ggml.eos_token_id`".to_owned()))?;
        let (beginning, padding) = (
            id("tokenizer.ggml.bos_token_id")?,
            id("tokenizer.ggml.padding_token_id")?,
        );
        let mut this = Self::new(tokenizer, Family::Other, beginning, end_of_text, padding)?;
        this.frame(
            store.optional("tokenizer.ggml.add_bos_token", GgufValue::as_bool)?,
            store.optional("tokenizer.ggml.add_eos_token", GgufValue::as_bool)?,
        );
        Ok(this)
    }
}

fn byte_level(store: &GgufStore, tokens: &[&str], types: &[u64]) -> Result<Tokenizer, TokenizerError> {
    let unusable = |reason: String| unusable(store.path(), reason);
    let cut = store.required("tokenizer.ggml.pre", GgufValue::as_text)?;
    let cut = Cut::named(cut).map_err(unusable)?;
    let merges = store.required("tokenizer.ggml.merges", GgufValue::as_texts)?;
    let merges = merges
        .into_iter()
        .map(|merge| {
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| unusable(format!("`{merge}` is no merge of two")))?;
            Ok((left.to_owned(), right.to_owned()))
        })
        .collect::<Result<Vec<_>, TokenizerError>>()?;
    let vocabulary = tokens.iter().enumerate();
    let vocabulary = vocabulary.map(|(id, token)| ((*token).to_owned(), id as u32));
    let of_type = |wanted: u64| {
        let found = tokens.iter().zip(types).filter(move |(_, kind)| **kind == wanted);
        found.map(move |(token, _)| AddedToken::from(*token, wanted == CONTROL))
    };
    let added = of_type(CONTROL).chain(of_type(USER_DEFINED));
    byte_level::assemble(vocabulary.collect(), merges, cut, added)
        .map_err(|error| unusable(error.to_string()))
}

fn byte_pairs(
    store: &GgufStore,
    tokens: &[&str],
    types: &[u64],
    unknown: Option<u32>,
) -> Result<Tokenizer, TokenizerError> {
    let unusable = |reason: String| unusable(store.path(), reason);
    let scores = store.required("tokenizer.ggml.scores", as_numbers)?;
    if scores.len() != tokens.len() {
        return Err(unusable(format!(
            "it has {} tokens, but the scores of {}",
            tokens.len(),
            scores.len()
        )));
    }
    let leading = store.optional("tokenizer.ggml.add_space_prefix", GgufValue::as_bool)?;
    let pieces = tokens.iter().zip(scores).zip(types);
    let pieces = pieces.map(|((text, score), kind)| ((*text).to_owned(), score, *kind));
    sentencepiece::from_pieces(pieces, unknown, leading.unwrap_or(true))
        .map_err(|error| unusable(error.to_string()))
}

fn as_integers(value: &GgufValue) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(GgufValue::as_u64).collect()
}

/// Numbers that can be put in order.
fn as_numbers(value: &GgufValue) -> Option<Vec<f64>> {
    let number = |value: &GgufValue| value.as_f64().filter(|number| number.is_finite());
    value.as_array()?.iter().map(number).collect()
}
