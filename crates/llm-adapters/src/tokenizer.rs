//! Text to ids and back, with the vocabulary that belongs to a language model.

use std::path::{Path, PathBuf};

use blip2_core::weights::{GgufStore, GgufValue, WeightError};
use serde::Deserialize;
use thiserror::Error;
use tokenizers::{AddedToken, Tokenizer};

use crate::byte_level::{self, Cut};
use crate::config::nested;

/// Token types of GGUF metadata that matter here.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// A tokenizer that cannot be had, or a text that it cannot take.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// The file that holds the vocabulary is missing or damaged.
    #[error(transparent)]
    File(#[from] WeightError),
    /// The vocabulary cannot be used.
    #[error("the tokenizer in {path} cannot be used: {reason}", path = path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A text or ids that the tokenizer refuses.
    #[error("the tokenizer cannot {action}: {reason}")]
    Text {
        /// `encode` or `decode`, with what.
        action: String,
        /// Why.
        reason: String,
    },
}

/// The tokenizer of a language model, and the ids that have a meaning to it.
pub struct LanguageTokenizer {
    tokenizer: Tokenizer,
    beginning: Option<u32>,
    end: u32,
    end_of_text: u32,
    padding: u32,
    family: Family,
    /// Whether the file itself says which special ids stand around a text.
    framed: bool,
}

/// Families differ in the special ids that they were trained to see around a text.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Family {
    Opt,
    T5,
    Qwen2,
    #[default]
    #[serde(other)]
    Other,
}

impl LanguageTokenizer {
    /// Reads `tokenizer.json` from a Hugging Face folder, or, where it has none, `vocab.json` and `merges.txt`, and the special
    /// ids from its `config.json`, or the `text_config` in it.
    ///
    /// # Errors
    /// [`TokenizerError`] where a file is missing or damaged, or no end-of-text id is given.
    pub fn from_hugging_face(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("config.json");
        let ids: SpecialIds = serde_json::from_slice(&read(&path)?)
            .and_then(|config| serde_json::from_value(nested(config)))
            .map_err(|error| unusable(&path, error))?;
        let end_of_text = ids
            .eos_token_id
            .and_then(EndIds::first)
            .ok_or_else(|| unusable(&path, "it has no `eos_token_id`"))?;
        let path = folder.join("tokenizer.json");
        let mut tokenizer = if !path.is_file() && byte_level::has_files(folder) {
            let special = [ids.bos_token_id, Some(end_of_text), ids.pad_token_id];
            let cut = match ids.model_type {
                Family::Qwen2 => Cut::Qwen2,
                Family::Opt | Family::T5 | Family::Other => Cut::Gpt2,
            };
            byte_level::from_files(folder, cut, &special.into_iter().flatten().collect::<Vec<_>>())?
        } else {
            Tokenizer::from_bytes(read(&path)?).map_err(|error| unusable(&path, error))?
        };
        // Length and padding are decided here, whatever was set when the file was saved.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| unusable(&path, error))?;
        Self::new(
            tokenizer,
            ids.model_type,
            ids.bos_token_id,
            end_of_text,
            ids.pad_token_id,
        )
    }

    /// Builds the byte-level BPE tokenizer that the metadata of a GGUF file describes.
    ///
    /// # Errors
    /// [`TokenizerError`] where the metadata is incomplete or describes a tokenizer of another kind.
    pub fn from_gguf(store: &GgufStore) -> Result<Self, TokenizerError> {
        let unusable = |reason: String| unusable(store.path(), reason);
        let text = |key: &str| store.required(key, GgufValue::as_text);
        let model = text("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(unusable(format!(
                "its kind is `{model}`; only byte-level BPE (`gpt2`) is supported"
            )));
        }
        let cut = Cut::named(text("tokenizer.ggml.pre")?).map_err(unusable)?;
        let tokens = store.required("tokenizer.ggml.tokens", GgufValue::as_texts)?;
        let types = store.required("tokenizer.ggml.token_type", as_integers)?;
        let merges = store.required("tokenizer.ggml.merges", GgufValue::as_texts)?;
        if types.len() != tokens.len() {
            return Err(unusable(format!(
                "it has {} tokens, but the types of {}",
                tokens.len(),
                types.len()
            )));
        }
        let merges = merges
            .into_iter()
            .map(|merge| {
                let (left, right) = merge
                    .split_once(' ')
                    .ok_or_else(|| unusable(format!("`{merge}` is no merge of two")))?;
                Ok((left.to_owned(), right.to_owned()))
            })
            .collect::<Result<Vec<_>, TokenizerError>>()?;
        let vocabulary: Vec<(String, u32)> = tokens
            .iter()
            .enumerate()
            .map(|(id, token)| ((*token).to_owned(), id as u32))
            .collect();
        let of_type = |wanted: u64| {
            tokens
                .iter()
                .zip(&types)
                .filter(move |(_, kind)| **kind == wanted)
        };
        let added = of_type(CONTROL).map(|(token, _)| AddedToken::from(*token, true));
        let added = added.chain(of_type(USER_DEFINED).map(|(token, _)| AddedToken::from(*token, false)));
        let tokenizer = byte_level::assemble(vocabulary.into_iter().collect(), merges, cut, added)
            .map_err(|error| unusable(error.to_string()))?;
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
        let end_of_text = id("tokenizer.ggml.eos_token_id")?
            .ok_or_else(|| unusable("metadata has no `tokenizer.ggml.eos_token_id`".to_owned()))?;
        let (beginning, padding) = (
            id("tokenizer.ggml.bos_token_id")?,
            id("tokenizer.ggml.padding_token_id")?,
        );
        Self::new(tokenizer, Family::Other, beginning, end_of_text, padding)
    }

    fn new(
        tokenizer: Tokenizer,
        family: Family,
        beginning: Option<u32>,
        end_of_text: u32,
        padding: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        let padding = padding.unwrap_or(end_of_text);
        let framed = !ids_of(&tokenizer, "", true)?.is_empty();
        let mut this = Self {
            tokenizer,
            beginning,
            end: end_of_text,
            end_of_text,
            padding,
            family,
            framed,
        };
        // T5's vocabulary takes a line break for a space.
        if family != Family::T5
            && let [line_break] = this.encode("\n")?[..]
        {
            this.end = line_break;
        }
        Ok(this)
    }

    /// Ids of `text`. No special id is added; those that stand in the text by name are recognised.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] where the text holds something that the vocabulary has no ids for.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        ids_of(&self.tokenizer, text, false)
    }

    /// Ids of a prompt as the family was trained to read it behind a soft prompt, also of an empty one: with the special ids
    /// that `tokenizer.json` puts around a text. Where it puts none (so do vocabulary files, and GGUF), OPT has
    /// [`LanguageTokenizer::beginning`] in front, T5 [`LanguageTokenizer::end_of_text`] behind, and others have nothing.
    ///
    /// # Errors
    /// As for [`LanguageTokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        if self.framed {
            return ids_of(&self.tokenizer, text, true);
        }
        let ids = self.encode(text)?;
        let (before, behind) = match self.family {
            Family::Opt => (self.beginning, None),
            Family::T5 => (None, Some(self.end_of_text)),
            Family::Qwen2 | Family::Other => (None, None),
        };
        Ok(before.into_iter().chain(ids).chain(behind).collect())
    }

    /// Text of `ids`, special ids left out.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] where the ids make no text.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.tokenizer
            .decode(ids, true)
            .map_err(|error| TokenizerError::Text {
                action: format!("decode {ids:?}"),
                reason: error.to_string(),
            })
    }

    /// The id that begins a text, where the model has one.
    pub fn beginning(&self) -> Option<u32> {
        self.beginning
    }

    /// The id that a caption or an answer is trained to end with: the line break, where that is one id, as LAVIS does with
    /// OPT; else, and always with T5, [`LanguageTokenizer::end_of_text`].
    ///
    /// A frozen model cannot learn to end where it does not expect an end. After "two apples above a bicycle" SmolLM2
    /// gives the line break -4.6 nats, its own end-of-text id -17.6.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The id with which the model itself ends a text.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// The ids that stop generation: [`LanguageTokenizer::end`] and [`LanguageTokenizer::end_of_text`], each once.
    pub fn ends(&self) -> Vec<u32> {
        let mut ends = vec![self.end, self.end_of_text];
        ends.dedup();
        ends
    }

    /// The id that fills up shorter rows; [`LanguageTokenizer::end_of_text`] where the model has none of its own.
    pub fn padding(&self) -> u32 {
        self.padding
    }

    /// Rows that an embedding needs for all ids, added tokens included: one more than the highest.
    pub fn vocabulary(&self) -> usize {
        let highest = self.tokenizer.get_vocab(true).into_values().max();
        highest.map_or(0, |id| id as usize + 1)
    }
}

/// Ids of `text`, with the special ids around it that the file wants where `framed`.
fn ids_of(tokenizer: &Tokenizer, text: &str, framed: bool) -> Result<Vec<u32>, TokenizerError> {
    let encoding = tokenizer
        .encode_fast(text, framed)
        .map_err(|error| TokenizerError::Text {
            action: format!("encode `{text}`"),
            reason: error.to_string(),
        })?;
    Ok(encoding.get_ids().to_vec())
}

fn as_integers(value: &GgufValue) -> Option<Vec<u64>> {
    value.as_array()?.iter().map(GgufValue::as_u64).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, WeightError> {
    std::fs::read(path).map_err(|source| WeightError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

fn unusable(path: &Path, reason: impl ToString) -> TokenizerError {
    TokenizerError::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[derive(Deserialize)]
struct SpecialIds {
    #[serde(default)]
    model_type: Family,
    bos_token_id: Option<u32>,
    eos_token_id: Option<EndIds>,
    pad_token_id: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EndIds {
    One(u32),
    Several(Vec<u32>),
}

impl EndIds {
    fn first(self) -> Option<u32> {
        match self {
            Self::One(id) => Some(id),
            Self::Several(ids) => ids.first().copied(),
        }
    }
}
