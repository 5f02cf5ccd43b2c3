//! What a folder says of its tokenizer beside the vocabulary: `tokenizer_config.json`, `special_tokens_map.json` and
//! `added_tokens.json`, as `transformers` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::{AddedToken, Tokenizer};

use crate::files;
use crate::weights::WeightError;

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL: &str = "special_tokens_map.json";
const ADDED: &str = "added_tokens.json";

/// What of `tokenizer_config.json` changes the ids of a text; `None` where it does not say.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TokenizerConfig {
    /// Whether the token that begins a text stands in front of it.
    pub add_bos_token: Option<bool>,
    /// Whether the token that ends a text stands behind it.
    pub add_eos_token: Option<bool>,
    /// Whether a word at the beginning is cut as one behind a space.
    pub add_prefix_space: Option<bool>,
    /// Whether a Llama's text gets its leading space before it is cut at special tokens.
    pub legacy: Option<bool>,
    /// How many sentinels `<extra_id_N>` a T5 has.
    pub extra_ids: Option<usize>,
    /// Whether BERT reads lower case alone.
    pub do_lower_case: Option<bool>,
    /// Whether BERT drops accents.
    pub strip_accents: Option<bool>,
    /// Whether BERT cuts around each Chinese character.
    pub tokenize_chinese_chars: Option<bool>,
    /// Tokens beside the vocabulary's, those with an id first, in order.
    #[serde(skip)]
    pub added: Vec<Added>,
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, Token>,
    #[serde(flatten)]
    special: SpecialTokens,
}

/// A token that is found in a text before the vocabulary cuts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id, where a file says it.
    pub id: Option<u32>,
    /// What it looks like in a text.
    pub content: String,
    /// Whether it stands for no text.
    pub special: bool,
    /// Whether it takes the white space in front of it along.
    pub lstrip: bool,
    /// The same, behind it.
    pub rstrip: bool,
    /// Whether it is found between words alone.
    pub single_word: bool,
    /// Whether it is looked for in the normalised text.
    pub normalized: bool,
}

/// The tokenizer of a `tokenizer.json`. Where its library panics, as it does at malformed decoders, that is an error here.
///
/// # Errors
/// Where it is none.
pub fn parse_tokenizer(json: &[u8]) -> tokenizers::Result<Tokenizer> {
    catch_unwind(|| Tokenizer::from_bytes(json))
        .unwrap_or_else(|_| Err("it is malformed where its library does not expect it".into()))
}

/// Lets `tokenizer` find `added` in a text before it is cut; those without an id get the next ones, in this order.
///
/// # Errors
/// Where one of them would have another id than the files say.
pub fn add_tokens(tokenizer: &mut Tokenizer, added: &[Added]) -> tokenizers::Result<()> {
    let tokens = added.iter().map(|token| {
        AddedToken::from(token.content.as_str(), token.special)
            .lstrip(token.lstrip)
            .rstrip(token.rstrip)
            .single_word(token.single_word)
            .normalized(token.normalized)
    });
    tokenizer.add_tokens(tokens.collect::<Vec<_>>())?;
    for Added { id, content, .. } in added {
        let own = tokenizer.token_to_id(content);
        if let (Some(id), Some(own)) = (id, own)
            && *id != own
        {
            return Err(format!(
                "the files beside it give `{content}` the id {id}, but with this vocabulary it has {own}: they belong to \
                 another model"
            )
            .into());
        }
    }
    Ok(())
}

/// Rows that an embedding needs for all that `tokenizer` can cut a text into: one more than the highest id. Special tokens count for
/// nothing.
pub fn text_vocabulary(tokenizer: &Tokenizer) -> usize {
    let added = tokenizer.get_added_tokens_decoder().into_values();
    let special: BTreeSet<String> = added
        .filter(|token| token.special)
        .map(|token| token.content)
        .collect();
    let words = tokenizer.get_vocab(false).into_iter();
    let ids = words
        .filter(|(word, _)| !special.contains(word))
        .map(|(_, id)| id);
    ids.max().map_or(0, |id| id as usize + 1)
}

impl Added {
    /// A special token without an id of its own.
    pub fn special(content: &str) -> Self {
        Token::Plain(content.to_owned()).added(None, true)
    }
}

/// A token by its text, or with all that is known of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Whole {
        content: String,
        #[serde(default)]
        lstrip: bool,
        #[serde(default)]
        rstrip: bool,
        #[serde(default)]
        single_word: bool,
        normalized: Option<bool>,
        special: Option<bool>,
    },
}

/// Tokens by what they are for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SpecialTokens {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    unk_token: Option<Token>,
    sep_token: Option<Token>,
    pad_token: Option<Token>,
    cls_token: Option<Token>,
    mask_token: Option<Token>,
    additional_special_tokens: Option<Vec<Token>>,
}

impl TokenizerConfig {
    /// Reads the three files of `folder`, of which each may be absent.
    ///
    /// # Errors
    /// [`WeightError`] with the file that cannot be read or understood.
    pub fn read(folder: &Path) -> Result<Self, WeightError> {
        let mut config: Self = parse(&folder.join(CONFIG))?;
        let map: SpecialTokens = parse(&folder.join(SPECIAL))?;
        let numbered: BTreeMap<String, u32> = parse(&folder.join(ADDED))?;
        let mut added = Vec::new();
        for (id, token) in &config.added_tokens_decoder {
            let id = id.parse().map_err(|_| WeightError::Format {
                path: folder.join(CONFIG),
                format: FORMAT,
                reason: format!("`added_tokens_decoder` has the key `{id}`, which is no id"),
            })?;
            added.push(token.added(Some(id), false));
        }
        let special: Vec<Added> = [&config.special, &map]
            .into_iter()
            .flat_map(SpecialTokens::tokens)
            .map(|token| token.added(None, true))
            .collect();
        for (content, id) in numbered {
            let named = special.iter().find(|token| token.content == content);
            let token = named.cloned();
            let token = token.unwrap_or_else(|| Token::Plain(content).added(None, false));
            added.push(Added {
                id: Some(id),
                ..token
            });
        }
        added.sort_by_key(|token| token.id);
        added.extend(special.clone());
        let mut contents = BTreeSet::new();
        added.retain(|token| contents.insert(token.content.clone()));
        for token in &mut added {
            token.special |= special.iter().any(|named| named.content == token.content);
        }
        config.added = added;
        Ok(config)
    }
}

const FORMAT: &str = "tokenizer configuration";

/// The content of the JSON file at `path`; nothing where there is none.
fn parse<T: DeserializeOwned + Default>(path: &Path) -> Result<T, WeightError> {
    if !path.is_file() {
        return Ok(T::default());
    }
    let text = files::read(path).map_err(|source| WeightError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| WeightError::Format {
        path: path.to_owned(),
        format: FORMAT,
        reason: error.to_string(),
    })
}

impl SpecialTokens {
    fn tokens(&self) -> impl Iterator<Item = &Token> {
        let named = [
            &self.bos_token,
            &self.eos_token,
            &self.unk_token,
            &self.sep_token,
            &self.pad_token,
            &self.cls_token,
            &self.mask_token,
        ];
        let others = self.additional_special_tokens.iter().flatten();
        named.into_iter().flatten().chain(others)
    }
}

impl Token {
    /// The token as it is added, with the id that a file gives it; `named` where it is special by its name.
    fn added(&self, id: Option<u32>, named: bool) -> Added {
        match self.clone() {
            Self::Plain(content) => Added {
                id,
                content,
                special: named,
                lstrip: false,
                rstrip: false,
                single_word: false,
                normalized: !named,
            },
            Self::Whole {
                content,
                lstrip,
                rstrip,
                single_word,
                normalized,
                special,
            } => {
                let special = special.unwrap_or(named);
                Added {
                    id,
                    content,
                    special,
                    lstrip,
                    rstrip,
                    single_word,
                    normalized: normalized.unwrap_or(!special),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_tokenizer;

    #[test]
    fn a_decoder_that_the_library_panics_at_is_an_error() {
        let with = |decoder: &str| {
            let model = r#"{"type":"BPE","vocab":{"a":0},"merges":[]}"#;
            format!(r#"{{"version":"1.0","added_tokens":[],"decoder":{decoder},"model":{model}}}"#)
        };
        assert!(parse_tokenizer(with("null").as_bytes()).is_ok());
        for decoder in ["5", "[]", r#"{"type" 1}"#] {
            assert!(parse_tokenizer(with(decoder).as_bytes()).is_err(), "{decoder}");
        }
    }
}
