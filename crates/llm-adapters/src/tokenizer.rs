//! Text to ids and back, with the vocabulary that belongs to a language model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use blip2_core::tokenizer_config::text_vocabulary;
use blip2_core::weights::WeightError;
use thiserror::Error;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer};

use crate::config::nested;
use crate::special_ids::SpecialIds;
use crate::tokenizer_files::{Family, TokenizerFiles, read};

/// A tokenizer that cannot be had, or a text that it cannot take.
#[derive(Debug, Error)]
#[non_exhaustive]
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
    /// A folder without a tokenizer.
    #[error(
        "{folder} holds no tokenizer: neither `tokenizer.json`, nor `vocab.json` with `merges.txt`, nor `tokenizer.model` or \
         `spiece.model`; copy that file from where the model comes from",
        folder = folder.display()
    )]
    Absent {
        /// Which folder.
        folder: PathBuf,
    },
    /// A text with a special token that the model has not learnt to read.
    #[error(
        "the text holds the special token `{token}`, which stands for no text and which the model has not learnt to read: leave \
         it out (the program itself puts the picture in front of the text)"
    )]
    Reserved {
        /// Which token.
        token: String,
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
    end: Option<u32>,
    end_of_text: Option<u32>,
    padding: u32,
    /// Whether the file itself says which special ids stand around a text.
    framed: bool,
    /// The one in front of a prompt where it does not,
    front: Option<u32>,
    /// and the one behind.
    back: Option<u32>,
    /// Special tokens that no text of the model's training held.
    reserved: BTreeMap<u32, String>,
}

/// What the processor of `transformers` puts in the place of the picture: part of no text.
pub const PLACEHOLDER: &str = "<image>";

/// A text to see what stands around one.
const PROBE: &str = "a";

impl LanguageTokenizer {
    /// What stands for an id that a model has not: no vocabulary is so large. No text is ended by it, and a model that is to read
    /// it refuses.
    pub const NO_ID: u32 = u32::MAX;

    /// Reads the tokenizer of a Hugging Face folder: `tokenizer.json`; or, where it has none, `vocab.json` with `merges.txt`, or a
    /// SentencePiece model (`tokenizer.model`, `spiece.model`), with the tokens that `tokenizer_config.json`,
    /// `special_tokens_map.json` and `added_tokens.json` add. The special ids come from its `config.json`, or the `text_config`
    /// in it.
    ///
    /// # Errors
    /// [`TokenizerError`] where a file is missing or damaged.
    pub fn from_hugging_face(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("config.json");
        let ids: SpecialIds = serde_json::from_slice(&read(&path)?)
            .and_then(|config| serde_json::from_value(nested(config)))
            .map_err(|error| unusable(&path, error))?;
        let special = [ids.beginning, ids.end_of_text, ids.padding];
        let special: Vec<u32> = special.into_iter().flatten().collect();
        let TokenizerFiles {
            mut tokenizer,
            begun,
            ended,
        } = TokenizerFiles::open(folder, ids.family, &special)?;
        // Length and padding are decided here, whatever was set when the file was saved.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| unusable(folder, error))?;
        let mut this = Self::new(tokenizer, ids.family, ids.beginning, ids.end_of_text, ids.padding)?;
        this.frame(begun, ended);
        Ok(this)
    }

    /// Lets the token that begins a text stand in front of a prompt, or not, where a file says which; the same of the end.
    pub(crate) fn frame(&mut self, begun: Option<bool>, ended: Option<bool>) {
        if let Some(begun) = begun {
            self.front = self.beginning.filter(|_| begun);
        }
        if let Some(ended) = ended {
            self.back = self.back.or(self.end_of_text).filter(|_| ended);
        }
    }

    /// A tokenizer made by hand, with the ids that have a meaning to its model: that which begins a text, where there is one, that
    /// which ends it, and padding where it is another than the latter. Nothing stands around a prompt but what `tokenizer` itself
    /// puts there.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] where it cannot encode so much as a line break.
    pub fn from_parts(
        tokenizer: Tokenizer,
        beginning: Option<u32>,
        end_of_text: u32,
        padding: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        Self::new(tokenizer, Family::Other, beginning, end_of_text, padding)
    }

    pub(crate) fn new(
        tokenizer: Tokenizer,
        family: Family,
        beginning: Option<u32>,
        end_of_text: impl Into<Option<u32>>,
        padding: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        let end_of_text = end_of_text.into();
        let padding = padding.or(end_of_text);
        let framed = !ids_of(&tokenizer, "", true)?.is_empty();
        let (front, back) = match family {
            Family::Opt => (beginning, None),
            // Its tokenizer ends a text also where the model may write without an end.
            Family::T5 => (None, end_of_text.or_else(|| tokenizer.token_to_id("</s>"))),
            Family::Llama | Family::Qwen2 | Family::Gemma3 | Family::Other => (None, None),
        };
        let mut this = Self {
            reserved: reserved(&tokenizer, family, [beginning, end_of_text], padding),
            tokenizer,
            beginning,
            end: end_of_text,
            end_of_text,
            // No model looks at padding: any id will do.
            padding: padding.unwrap_or_default(),
            framed,
            front,
            back,
        };
        // T5's vocabulary takes a line break for a space.
        if family != Family::T5
            && let [line_break] = this.encode("\n")?[..]
        {
            this.end = Some(line_break);
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
    /// that `tokenizer.json` puts around a text. Where it puts none (so do vocabulary files, and GGUF), `tokenizer_config.json`
    /// decides; else OPT, and Llama with its SentencePiece model, has [`LanguageTokenizer::beginning`] in front, T5
    /// [`LanguageTokenizer::end_of_text`] behind, and others have nothing.
    ///
    /// # Errors
    /// As for [`LanguageTokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        if self.framed {
            return ids_of(&self.tokenizer, text, true);
        }
        let ids = self.encode(text)?;
        Ok(self.front.into_iter().chain(ids).chain(self.back).collect())
    }

    /// Ids of a prompt that a person wrote: as [`LanguageTokenizer::encode_prompt`], but special tokens whose embeddings were
    /// never trained as a part of a text are refused. Those are the place of the picture, `<image>`; with OPT all but the token
    /// around a text; with others padding, and what stands for unknown text where every text is known. Tokens that the family
    /// was trained to read, such as `</s>` or the sentinels of T5, are read.
    ///
    /// # Errors
    /// [`TokenizerError::Reserved`] with the first of them, and as for [`LanguageTokenizer::encode`].
    pub fn encode_written(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.check_written(&self.encode(text)?)?;
        self.encode_prompt(text)
    }

    /// Ids of a prompt that a person wrote in several texts, pictures in between: as [`LanguageTokenizer::encode_written`] of one
    /// text, with what stands in front of it in front of the first, and what stands behind it behind the last. Without a text,
    /// those around an empty one.
    ///
    /// # Errors
    /// As for [`LanguageTokenizer::encode_written`].
    pub fn encode_pieces(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, TokenizerError> {
        if let [] | [_] = texts {
            let only = texts.first().copied().unwrap_or_default();
            return Ok(vec![self.encode_written(only)?]);
        }
        let mut pieces = Vec::with_capacity(texts.len());
        for text in texts {
            let ids = self.encode(text)?;
            self.check_written(&ids)?;
            pieces.push(ids);
        }
        let (plain, framed) = (self.encode(PROBE)?, self.encode_prompt(PROBE)?);
        let at = framed.windows(plain.len().max(1)).position(|ids| *ids == plain);
        let at = at.unwrap_or(0);
        let (front, back) = (&framed[..at], framed.get(at + plain.len()..));
        if let Some(first) = pieces.first_mut() {
            first.splice(0..0, front.iter().copied());
        }
        if let Some(last) = pieces.last_mut() {
            last.extend(back.unwrap_or_default());
        }
        Ok(pieces)
    }

    fn check_written(&self, ids: &[u32]) -> Result<(), TokenizerError> {
        match ids.iter().find_map(|id| self.reserved.get(id)) {
            Some(token) => Err(TokenizerError::Reserved { token: token.clone() }),
            None => Ok(()),
        }
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
    /// OPT; else, and always with T5, [`LanguageTokenizer::end_of_text`]; where the model has neither,
    /// [`LanguageTokenizer::NO_ID`].
    ///
    /// A frozen model cannot learn to end where it does not expect an end. After "two apples above a bicycle" SmolLM2
    /// gives the line break -4.6 nats, its own end-of-text id -17.6.
    pub fn end(&self) -> u32 {
        self.end.unwrap_or(Self::NO_ID)
    }

    /// The id with which the model itself ends a text; [`LanguageTokenizer::NO_ID`] where it has none, and writes up to the length
    /// that is asked for.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text.unwrap_or(Self::NO_ID)
    }

    /// The ids that stop generation: [`LanguageTokenizer::end`] and [`LanguageTokenizer::end_of_text`], each once, where the model
    /// has them.
    pub fn ends(&self) -> Vec<u32> {
        let mut ends: Vec<u32> = [self.end, self.end_of_text].into_iter().flatten().collect();
        ends.dedup();
        ends
    }

    /// The id that fills up shorter rows; [`LanguageTokenizer::end_of_text`] where the model has none of its own, else 0.
    pub fn padding(&self) -> u32 {
        self.padding
    }

    /// The id of [`PLACEHOLDER`]: where the vocabulary has none, the next one, which the processor of `transformers` gives it.
    pub fn placeholder(&self) -> u32 {
        let own = self.tokenizer.token_to_id(PLACEHOLDER);
        own.unwrap_or_else(|| {
            self.tokenizer
                .get_vocab_size(true)
                .try_into()
                .unwrap_or(Self::NO_ID)
        })
    }

    /// Rows that an embedding needs for all ids of text: one more than the highest. Added tokens may lie beyond, such as the
    /// `<image>` that the processor of `transformers` adds: who writes one of them is told so.
    pub fn text_vocabulary(&self) -> usize {
        text_vocabulary(&self.tokenizer)
    }
}

/// The special tokens of `tokenizer` that no text of the family's training held.
fn reserved(
    tokenizer: &Tokenizer,
    family: Family,
    around: [Option<u32>; 2],
    padding: Option<u32>,
) -> BTreeMap<u32, String> {
    // Where every byte has an id, no text is unknown.
    let unknown = match tokenizer.get_model() {
        ModelWrapper::BPE(model) if model.byte_fallback => model.get_unk_token().clone(),
        _ => None,
    };
    let is_reserved = |id: u32, token: &AddedToken| {
        token.content == PLACEHOLDER
            || token.special
                && !around.contains(&Some(id))
                && match family {
                    Family::Opt => true,
                    Family::T5 => false,
                    Family::Llama | Family::Qwen2 | Family::Gemma3 | Family::Other => {
                        padding == Some(id) || unknown.as_ref() == Some(&token.content)
                    }
                }
    };
    tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .filter(|(id, token)| is_reserved(*id, token))
        .map(|(id, token)| (id, token.content))
        .collect()
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

pub(crate) fn unusable(path: &Path, reason: impl ToString) -> TokenizerError {
    TokenizerError::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
