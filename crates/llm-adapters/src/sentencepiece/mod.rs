//! SentencePiece models, `spiece.model` of T5 and `tokenizer.model` of Llama, as `transformers` converts them for its fast
//! tokenizers.

mod model;
mod rewrites;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use blip2_core::tokenizer_config::{Added, TokenizerConfig, add_tokens};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges};
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{NormalizerWrapper, Precompiled, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{ModelWrapper, Tokenizer};

use self::model::{Algorithm, Kind, Model, Piece};
use crate::TokenizerError;
use crate::tokenizer_files::{Family, read};

/// What such a model is called in a folder.
const NAMES: [&str; 2] = ["tokenizer.model", "spiece.model"];
/// What stands for a space.
const SPACE: char = '▁';
/// Sentinels that T5 has beside its pieces, where `tokenizer_config.json` does not count them.
const SENTINELS: usize = 100;

/// The model in `folder`, where it has one.
pub(crate) fn find(folder: &Path) -> Option<PathBuf> {
    NAMES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// The tokenizer of the model in the file `path`, as `family` uses it.
///
/// # Errors
/// [`TokenizerError`] where the file is damaged, or `config` adds tokens that do not go with it.
pub(crate) fn from_file(
    path: &Path,
    family: Family,
    config: &TokenizerConfig,
) -> Result<Tokenizer, TokenizerError> {
    let unusable = |reason: String| TokenizerError::Unusable {
        path: path.to_owned(),
        reason,
    };
    let model = Model::parse(&read(path)?).map_err(unusable)?;
    let sentinels = match family {
        Family::T5 => config.extra_ids.unwrap_or(SENTINELS),
        _ => 0,
    };
    let mut vocabulary: Vec<(String, f64)> = model
        .pieces
        .iter()
        .map(|piece| (piece.text.clone(), piece.score))
        .collect();
    // The last sentinel comes first.
    vocabulary.extend((0..sentinels).rev().map(|number| (sentinel(number), 0.0)));
    let cut = cut(&model, vocabulary).map_err(|error| unusable(error.to_string()))?;
    let mut tokenizer = Tokenizer::new(cut);
    let dressed = match family {
        Family::T5 => as_t5(&mut tokenizer, &model, config),
        _ => {
            // A Gemma's text begins as it is, unless it is told otherwise.
            let leading = config.add_prefix_space.unwrap_or(family != Family::Gemma3);
            as_llama(&mut tokenizer, leading, config.legacy != Some(false))
        }
    };
    dressed.map_err(|error| unusable(error.to_string()))?;
    add_tokens(&mut tokenizer, &added(&model, sentinels, &config.added))
        .map_err(|error| unusable(error.to_string()))?;
    Ok(tokenizer)
}

/// The tokenizer of byte pairs whose `pieces` (text, score, and kind as SentencePiece numbers it) stand in a GGUF file; `unknown`
/// is the id of what stands for unknown text, and a text begins with a space if `leading_space`.
///
/// # Errors
/// What contradicts itself.
pub(crate) fn from_pieces(
    pieces: impl Iterator<Item = (String, f64, u64)>,
    unknown: Option<u32>,
    leading_space: bool,
) -> tokenizers::Result<Tokenizer> {
    let mut pieces: Vec<Piece> = pieces
        .map(|(text, score, kind)| Piece {
            text,
            score,
            kind: Kind::numbered(kind),
        })
        .collect();
    if let Some(piece) = unknown.and_then(|id| pieces.get_mut(id as usize)) {
        piece.kind = Kind::Unknown;
    }
    let model = Model {
        pieces,
        algorithm: Algorithm::BytePairs,
        rewrites: Vec::new(),
    };
    let vocabulary = model.pieces.iter();
    let vocabulary = vocabulary
        .map(|piece| (piece.text.clone(), piece.score))
        .collect();
    let mut tokenizer = Tokenizer::new(cut(&model, vocabulary)?);
    as_llama(&mut tokenizer, leading_space, true)?;
    add_tokens(&mut tokenizer, &added(&model, 0, &[]))?;
    Ok(tokenizer)
}

fn sentinel(number: usize) -> String {
    format!("<extra_id_{number}>")
}

fn cut(model: &Model, vocabulary: Vec<(String, f64)>) -> tokenizers::Result<ModelWrapper> {
    let unknown = model.unknown();
    match model.algorithm {
        Algorithm::Unigram => Ok(Unigram::from(vocabulary, unknown, false)?.into()),
        Algorithm::BytePairs => {
            let merges = merges(&vocabulary);
            let ids = vocabulary.into_iter().enumerate();
            let ids: BTreeMap<String, u32> = ids.map(|(id, (text, _))| (text, id as u32)).collect();
            let mut builder = BPE::builder()
                .vocab_and_merges(
                    ids.into_iter().collect::<tokenizers::models::bpe::Vocab>(),
                    merges,
                )
                .fuse_unk(true)
                .byte_fallback(true);
            if let Some(unknown) = unknown {
                builder = builder.unk_token(model.pieces[unknown].text.clone());
            }
            Ok(builder.build()?.into())
        }
    }
}

/// The pairs whose union is a piece, in the order in which they are merged: the best piece first, of equals that with the
/// longer left part.
fn merges(vocabulary: &[(String, f64)]) -> Merges {
    let ids: BTreeMap<&str, usize> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, (text, _))| (text.as_str(), id))
        .collect();
    let mut merges = Vec::new();
    for (text, score) in vocabulary {
        let places = text.char_indices().skip(1).map(|(place, _)| text.split_at(place));
        let mut pairs: Vec<(&str, &str)> = places
            .filter(|(left, right)| ids.contains_key(left) && ids.contains_key(right))
            .collect();
        pairs.sort_by_key(|(left, right)| (ids[left], ids[right]));
        merges.extend(pairs.into_iter().map(|pair| (*score, pair)));
    }
    let length = |text: &str| text.chars().count();
    merges.sort_by(|(score, (left, right)), (other, (other_left, other_right))| {
        let longer = (length(other_left), length(other_right)).cmp(&(length(left), length(right)));
        other.total_cmp(score).then(longer)
    });
    let owned = |(_, (left, right)): (f64, (&str, &str))| (left.to_owned(), right.to_owned());
    merges.into_iter().map(owned).collect()
}

/// White space is normalised away but for single spaces; each word begins with one.
fn as_t5(tokenizer: &mut Tokenizer, model: &Model, config: &TokenizerConfig) -> tokenizers::Result<()> {
    let scheme = match config.add_prefix_space {
        Some(false) => PrependScheme::Never,
        _ => PrependScheme::Always,
    };
    let spaces = Metaspace::new(SPACE, scheme, true);
    if !model.rewrites.is_empty() {
        let rewrites = Precompiled::from(&model.rewrites)?;
        tokenizer.with_normalizer(Some(rewrites))?;
    }
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        WhitespaceSplit.into(),
        spaces.clone().into(),
    ])));
    tokenizer.with_decoder(Some(spaces));
    Ok(())
}

/// White space is kept; the text begins with a space if `leading`, put there before it is cut at special tokens if `legacy`.
fn as_llama(tokenizer: &mut Tokenizer, leading: bool, legacy: bool) -> tokenizers::Result<()> {
    if !legacy {
        let scheme = match leading {
            true => PrependScheme::First,
            false => PrependScheme::Never,
        };
        tokenizer.with_pre_tokenizer(Some(Metaspace::new(SPACE, scheme, false)));
    } else {
        let prepend = leading.then(|| Prepend::new(SPACE.into()).into());
        let replace = Replace::new(" ", SPACE)?.into();
        let steps: Vec<NormalizerWrapper> = prepend.into_iter().chain([replace]).collect();
        tokenizer.with_normalizer(Some(Normalizers::new(steps)))?;
    }
    let strip = leading.then(|| Strip::new(' ', 1, 0).into());
    let decoders = [
        Replace::new(SPACE.to_string(), " ")?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    tokenizer.with_decoder(Some(Decoders::new(decoders.into_iter().chain(strip).collect())));
    Ok(())
}

/// What is found in a text before it is cut: what the model's pieces say, the sentinels, and what is `configured`.
fn added(model: &Model, sentinels: usize, configured: &[Added]) -> Vec<Added> {
    let plain = |id: usize, content: String, special| Added {
        id: Some(id as u32),
        content,
        special,
        lstrip: false,
        rstrip: false,
        single_word: false,
        normalized: false,
    };
    let known: BTreeSet<&str> = configured.iter().map(|token| token.content.as_str()).collect();
    let pieces = model.pieces.iter().enumerate();
    let pieces = pieces.filter(|(_, piece)| piece.kind != Kind::Other);
    let pieces = pieces.map(|(id, piece)| plain(id, piece.text.clone(), piece.kind != Kind::UserDefined));
    let first = model.pieces.len();
    let sentinels = (0..sentinels)
        .rev()
        .enumerate()
        .map(|(place, number)| plain(first + place, sentinel(number), true));
    let own = pieces.chain(sentinels);
    let own = own.filter(|token| !known.contains(token.content.as_str()));
    own.chain(configured.iter().cloned()).collect()
}
