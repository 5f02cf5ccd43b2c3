//! What can be wrong with a vocabulary, a text or ids.

use std::path::PathBuf;

/// What can be wrong with a vocabulary or a request to tokenise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The vocabulary or tokenizer file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no tokenizer of BERT's kind.
    #[error(
        "{path} is no BERT vocabulary: {reason}; give a vocab.txt or a tokenizer.json of an uncased BERT"
    )]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is missing or malformed.
        reason: String,
    },
    /// The length leaves no room for `[CLS]` and `[SEP]`.
    #[error("a text of at most {0} tokens cannot hold [CLS] and [SEP]: allow at least 2")]
    TooShort(usize),
    /// The tokenizer refused a text.
    #[error("cannot tokenise {text:?}: {reason}")]
    Tokenise {
        /// The text.
        text: String,
        /// What the tokenizer said.
        reason: String,
    },
    /// The tokenizer has no `tokenizer.json`.
    #[error("cannot write the tokenizer: {reason}")]
    Write {
        /// What the tokenizer said.
        reason: String,
    },
    /// Ids that stand for no token.
    #[error("cannot decode ids {ids:?}: {reason}")]
    Decode {
        /// The ids.
        ids: Vec<u32>,
        /// What the tokenizer said.
        reason: String,
    },
}
