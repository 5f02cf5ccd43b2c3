//! BERT's word pieces with the Q-Former's one extra token, `[DEC]`, which starts a generated text.

use super::TextError;
use blip2_core::files;
use blip2_core::tokenizer_config::{TokenizerConfig, add_tokens, parse_tokenizer, text_vocabulary};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::ops::Range;
use std::path::Path;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

const PAD: &str = "[PAD]";
const UNKNOWN: &str = "[UNK]";
const CLASS: &str = "[CLS]";
const SEPARATOR: &str = "[SEP]";
const MASK: &str = "[MASK]";
const DECODE: &str = "[DEC]";

/// An uncased BERT tokenizer, as LAVIS's `init_tokenizer` makes it.
#[derive(Debug, Clone)]
pub struct BertTokenizer {
    tokenizer: Tokenizer,
    pad: u32,
    class: u32,
    separator: u32,
    decode: u32,
}

/// To what length the rows of a batch are filled with `[PAD]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The longest text of the batch.
    Longest,
    /// The maximal length, whatever the texts are.
    MaxLength,
}

/// Texts as ids, one row a text, all rows equally long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// `[batch, tokens]`: `[CLS]`, the word pieces, `[SEP]`, then `[PAD]`.
    pub ids: Vec<Vec<u32>>,
    /// `[batch, tokens]`: true where there is a token, false at padding.
    pub mask: Vec<Vec<bool>>,
}

impl BertTokenizer {
    /// Reads a `vocab.txt` (one token a line, with what `tokenizer_config.json`, `special_tokens_map.json` and
    /// `added_tokens.json` beside it say) or, where the name ends in `.json`, a `tokenizer.json`.
    ///
    /// `[DEC]` gets the first free id, where it has none: 30522 with bert-base-uncased.
    ///
    /// # Errors
    /// If the file cannot be read or lacks one of BERT's special tokens.
    pub fn from_file(path: &Path) -> Result<Self, TextError> {
        let refuse = |reason: String| TextError::Vocabulary {
            path: path.to_path_buf(),
            reason,
        };
        let bytes = files::read(path).map_err(|source| TextError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let mut tokenizer = if path.extension().is_some_and(|extension| extension == "json") {
            parse_tokenizer(&bytes).map_err(|error| refuse(error.to_string()))?
        } else {
            let folder = path.parent().unwrap_or(Path::new(""));
            let config = TokenizerConfig::read(folder).map_err(|error| refuse(error.to_string()))?;
            word_pieces(&bytes, &config).map_err(|error| refuse(error.to_string()))?
        };
        // Length and padding are this wrapper's business, not that of whoever saved the file.
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| refuse(error.to_string()))?;
        for token in [PAD, UNKNOWN, CLASS, SEPARATOR] {
            if tokenizer.token_to_id(token).is_none() {
                return Err(refuse(format!("it has no {token}")));
            }
        }
        // Vocabularies of a Q-Former alone may do without the mask.
        let mask = tokenizer.token_to_id(MASK).map(|_| MASK);
        let specials = [PAD, UNKNOWN, CLASS, SEPARATOR, DECODE].into_iter().chain(mask);
        let specials = specials.map(|token| AddedToken::from(token, true));
        tokenizer
            .add_special_tokens(specials)
            .map_err(|error| refuse(error.to_string()))?;
        let id = |token: &str| {
            tokenizer
                .token_to_id(token)
                .ok_or_else(|| refuse(format!("it has no {token}")))
        };
        let (pad, class, separator, decode) = (id(PAD)?, id(CLASS)?, id(SEPARATOR)?, id(DECODE)?);
        Ok(Self {
            tokenizer,
            pad,
            class,
            separator,
            decode,
        })
    }

    /// The text of a `tokenizer.json` that reads as this does, `[DEC]` and what stands around a text included.
    ///
    /// # Errors
    /// If the tokenizer has no such form.
    pub fn to_json(&self) -> Result<String, TextError> {
        let mut tokenizer = self.tokenizer.clone();
        let [separator, class] =
            [(SEPARATOR, self.separator), (CLASS, self.class)].map(|(token, id)| (token.to_owned(), id));
        tokenizer.with_post_processor(Some(BertProcessing::new(separator, class)));
        tokenizer.to_string(true).map_err(|error| TextError::Write {
            reason: error.to_string(),
        })
    }

    /// Number of ids, `[DEC]` included: the rows of the Q-Former's word embeddings.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Rows that an embedding needs for all ids of text: one more than the highest. Special tokens may lie beyond, such as the
    /// `<image>` that the processor of `transformers` adds ([`BertTokenizer::reserved`]).
    pub fn text_vocabulary(&self) -> usize {
        text_vocabulary(&self.tokenizer)
    }

    /// The first special token in `text` that a Q-Former with `rows` word embeddings cannot read: one without a row, or padding.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn reserved(&self, text: &str, rows: usize) -> Result<Option<String>, TextError> {
        let ids = self.pieces(text)?;
        let unread = ids.into_iter().find(|id| *id == self.pad || *id as usize >= rows);
        Ok(unread.and_then(|id| self.tokenizer.id_to_token(id)))
    }

    /// Ids of `text` alone.
    fn pieces(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let pieces = self.tokenizer.encode_fast(text, false);
        let pieces = pieces.map_err(|error| refused(text, error))?;
        Ok(pieces.get_ids().to_vec())
    }

    /// The words of `text`, and which of its tokens each is cut into, counted in the row that [`BertTokenizer::encode`] makes of it
    /// with `max_length`: `[CLS]` is token 0. What is cut off is left out.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn words(&self, text: &str, max_length: usize) -> Result<Vec<(String, Range<usize>)>, TextError> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.map_err(|error| refused(text, error))?;
        let mut words: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let mut last = None;
        let pieces = encoding.get_offsets().iter().zip(encoding.get_word_ids());
        for (piece, (&(start, end), word)) in pieces.take(max_length.saturating_sub(2)).enumerate() {
            let token = piece + 1;
            match words.last_mut() {
                Some((letters, tokens)) if word.is_some() && *word == last => {
                    (letters.end, tokens.end) = (end, token + 1);
                }
                _ => words.push((start..end, token..token + 1)),
            }
            last = *word;
        }
        let cut =
            |(letters, tokens): (Range<usize>, Range<usize>)| Some((text.get(letters)?.to_owned(), tokens));
        Ok(words.into_iter().filter_map(cut).collect())
    }

    /// The id that fills short rows.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// The id of `[CLS]`, at the start of every encoded text.
    pub fn class_id(&self) -> u32 {
        self.class
    }

    /// The id of `[SEP]`, at the end of every encoded text.
    pub fn separator_id(&self) -> u32 {
        self.separator
    }

    /// The id of `[DEC]`, which takes the place of `[CLS]` where text is generated.
    pub fn decode_id(&self) -> u32 {
        self.decode
    }

    /// Encodes texts with `[CLS]` and `[SEP]`, cutting each to `max_length` tokens in all.
    ///
    /// # Errors
    /// If `max_length` is below 2 or the tokenizer refuses a text.
    pub fn encode<T: AsRef<str>>(
        &self,
        texts: &[T],
        max_length: usize,
        padding: Padding,
    ) -> Result<TokenBatch, TextError> {
        if max_length < 2 {
            return Err(TextError::TooShort(max_length));
        }
        let mut ids = Vec::with_capacity(texts.len());
        for text in texts {
            let kept = self.pieces(text.as_ref())?.into_iter().take(max_length - 2);
            let row: Vec<u32> = [self.class]
                .into_iter()
                .chain(kept)
                .chain([self.separator])
                .collect();
            ids.push(row);
        }
        let width = match padding {
            Padding::Longest => ids.iter().map(Vec::len).max().unwrap_or(0),
            Padding::MaxLength => max_length,
        };
        let mask = ids
            .iter()
            .map(|row| (0..width).map(|position| position < row.len()).collect())
            .collect();
        ids.iter_mut().for_each(|row| row.resize(width, self.pad));
        Ok(TokenBatch { ids, mask })
    }

    /// The text of `ids`, special tokens left out.
    ///
    /// # Errors
    /// If the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.tokenizer
            .decode(ids, true)
            .map_err(|error| TextError::Decode {
                ids: ids.to_vec(),
                reason: error.to_string(),
            })
    }
}

fn refused(text: &str, error: impl ToString) -> TextError {
    TextError::Tokenise {
        text: text.to_owned(),
        reason: error.to_string(),
    }
}

impl TokenBatch {
    /// The ids as a tensor `[batch, tokens]`.
    pub fn ids_tensor(&self, device: &Device) -> Tensor<2, Int> {
        let values: Vec<i64> = self.ids.iter().flatten().map(|id| i64::from(*id)).collect();
        Tensor::from_data(TensorData::new(values, self.shape()), device)
    }

    /// The mask as a tensor `[batch, tokens]`, true where there is a token.
    pub fn mask_tensor(&self, device: &Device) -> Tensor<2, Bool> {
        let values: Vec<bool> = self.mask.iter().flatten().copied().collect();
        Tensor::from_data(TensorData::new(values, self.shape()), device)
    }

    /// `[batch, tokens]`.
    pub fn shape(&self) -> [usize; 2] {
        [self.ids.len(), self.ids.first().map_or(0, Vec::len)]
    }
}

/// The tokenizer of a `vocab.txt`: BERT's uncased one, unless `config` says otherwise.
fn word_pieces(vocabulary: &[u8], config: &TokenizerConfig) -> tokenizers::Result<Tokenizer> {
    let model = WordPiece::builder()
        .vocab(WordPiece::read_bytes(vocabulary)?)
        .unk_token(UNKNOWN.to_owned())
        .build()?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(BertNormalizer::new(
        true,
        config.tokenize_chinese_chars.unwrap_or(true),
        config.strip_accents,
        config.do_lower_case.unwrap_or(true),
    )))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_decoder(Some(WordPieceDecoder::default()));
    add_tokens(&mut tokenizer, &config.added)?;
    Ok(tokenizer)
}
