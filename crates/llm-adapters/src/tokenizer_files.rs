//! The files that a Hugging Face folder keeps its tokenizer in: one for the fast tokenizers, or those of the slow ones.

use std::path::Path;

use blip2_core::files;
use blip2_core::tokenizer_config::{TokenizerConfig, parse_tokenizer};
use blip2_core::weights::WeightError;
use serde::Deserialize;
use tokenizers::Tokenizer;

use crate::byte_level::{self, Cut};
use crate::{TokenizerError, sentencepiece};

const WHOLE: &str = "tokenizer.json";

/// Families differ in the special ids that they were trained to see around a text.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    Opt,
    T5,
    #[serde(alias = "mistral")]
    Llama,
    #[serde(alias = "qwen3")]
    Qwen2,
    #[serde(rename = "gemma3_text", alias = "gemma3")]
    Gemma3,
    #[default]
    #[serde(other)]
    Other,
}

/// A tokenizer, and what its folder says of the special tokens around a text where the tokenizer itself does not.
pub(crate) struct TokenizerFiles {
    pub(crate) tokenizer: Tokenizer,
    /// Whether the token that begins a text stands in front of it.
    pub(crate) begun: Option<bool>,
    /// Whether the token that ends a text stands behind it.
    pub(crate) ended: Option<bool>,
}

impl TokenizerFiles {
    /// The tokenizer in `folder`: of `tokenizer.json`; else of `vocab.json` and `merges.txt`, to which the ids of `special` are
    /// no text where no other file names such tokens; else of a SentencePiece model.
    ///
    /// # Errors
    /// [`TokenizerError`] where there is none, or a file is damaged.
    pub(crate) fn open(folder: &Path, family: Family, special: &[u32]) -> Result<Self, TokenizerError> {
        let path = folder.join(WHOLE);
        if path.is_file() {
            let tokenizer = parse_tokenizer(&read(&path)?).map_err(|error| TokenizerError::Unusable {
                path,
                reason: error.to_string(),
            })?;
            return Ok(Self {
                tokenizer,
                begun: None,
                ended: None,
            });
        }
        let config = TokenizerConfig::read(folder)?;
        let (begun, ended) = (config.add_bos_token, config.add_eos_token);
        if byte_level::has_files(folder) {
            let cut = match family {
                Family::Qwen2 => Cut::Qwen2,
                Family::Opt | Family::T5 | Family::Llama | Family::Gemma3 | Family::Other => Cut::Gpt2,
            };
            return Ok(Self {
                tokenizer: byte_level::from_files(folder, cut, special, &config)?,
                begun,
                ended,
            });
        }
        let path = sentencepiece::find(folder).ok_or_else(|| TokenizerError::Absent {
            folder: folder.to_owned(),
        })?;
        Ok(Self {
            tokenizer: sentencepiece::from_file(&path, family, &config)?,
            // A Llama or a Gemma with its SentencePiece model begins a text unless it is told not to.
            begun: begun.or(matches!(family, Family::Llama | Family::Gemma3).then_some(true)),
            ended,
        })
    }
}

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, WeightError> {
    files::read(path).map_err(|source| WeightError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}
