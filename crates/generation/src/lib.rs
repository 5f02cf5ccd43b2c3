//! Writing text with any [`blip2_core::NextTokenModel`]: greedy, beam search and sampling, with the meaning that
//! `transformers` 5 gives to each setting; all at once ([`generate`]), or as texts come and go ([`Session`]).
//!
#![doc = include_str!("../README.md")]

mod beam;
mod config;
mod distribution;
mod error;
mod nucleus_sampling;
mod rules;
mod safety;
mod sequential;
mod session;
mod stop;
mod text_stream;
mod wishes;
mod writing;

use std::sync::Arc;

use blip2_core::NextTokenModel;

use crate::distribution::Logits;
use crate::writing::{Start, Stepped, Writing, advance, step_all};

pub use config::{EarlyStopping, GenerationConfig};
pub use error::GenerationError;
pub use safety::{Filter, Finding, Guarded, WordList, WordListError, whole_words};
pub use session::{Event, Request, RowId, Session};
pub use stop::StopFlag;
pub use text_stream::TextStream;
pub use wishes::GenerationWishes;

/// A text that a model wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new ids alone, the end token included where the text reached one.
    pub ids: Vec<u32>,
    /// Sum of the log-probabilities of `ids` as the search saw them (after penalties, temperature, and cuts), divided by
    /// `ids.len()` to the power of the length penalty.
    pub score: f64,
}

/// A token that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// What the model thinks of it, where that was asked for.
    pub scores: Option<TokenScores>,
}

/// What the model itself, before rules, temperature and cuts, thinks of the tokens at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScores {
    /// Log-probability of the token that was chosen.
    pub log_probability: f32,
    /// The likeliest tokens with theirs, the likeliest first.
    pub likeliest: Vec<(u32, f32)>,
}

/// Called with the number of a text and a token, in the order of the text.
pub type TokenCallback<'a> = &'a mut dyn FnMut(usize, u32);

/// Continues every row of `model` and returns `num_return_sequences` texts a row, row by row, the best of beams first.
///
/// `history` holds, for each row, the ids that repetition penalty and n-gram rule count as written before: usually the
/// prompt. `callback` hears each token when it is decided: at once in greedy search and sampling, at the end of a row in
/// beam search, where nothing is decided earlier. What is drawn for a row depends on the seed and on its number.
///
/// # Errors
/// [`GenerationError::Config`] for settings that contradict themselves, [`GenerationError::Rows`] where `history` does not
/// fit the model, [`GenerationError::NotFinite`] for logits that are no numbers, [`GenerationError::TooFew`] where the
/// settings leave fewer texts than are asked for, [`GenerationError::Stopped`] where they are told to stop,
/// [`GenerationError::Model`] from the model.
pub fn generate(
    model: &mut dyn NextTokenModel,
    history: &[Vec<u32>],
    config: &GenerationConfig,
    callback: Option<TokenCallback>,
) -> Result<Vec<Generated>, GenerationError> {
    let streams: Vec<u64> = (0..history.len() as u64).collect();
    generate_by_streams(model, history, &streams, config, callback)
}

/// As [`generate`], where what is drawn for a row depends on the seed and on its number in `streams`, one a row: a row that
/// brings its own is drawn for alike in every batch.
///
/// # Errors
/// As for [`generate`]; [`GenerationError::Rows`] also where `streams` do not fit the model.
pub fn generate_by_streams(
    model: &mut dyn NextTokenModel,
    history: &[Vec<u32>],
    streams: &[u64],
    config: &GenerationConfig,
    callback: Option<TokenCallback>,
) -> Result<Vec<Generated>, GenerationError> {
    config.check()?;
    let [rows, _] = model.logits().dims();
    for given in [history.len(), streams.len()] {
        if rows != given {
            return Err(GenerationError::Rows { model: rows, given });
        }
    }
    let mut ignore = |_, _| {};
    let callback = callback.unwrap_or(&mut ignore);
    let shared = Arc::new(config.clone());
    let starts = history.iter().zip(streams).enumerate();
    let mut open: Vec<(usize, Writing)> = starts
        .map(|(row, (history, stream))| {
            let start = Start {
                row,
                place: row,
                history: history.clone(),
                stream: *stream,
                scores: None,
            };
            (row, Writing::new(start, shared.clone()))
        })
        .collect();
    let mut done = vec![Vec::new(); open.len()];
    while !open.is_empty() {
        let logits = Logits::of(model);
        let stepped = step_all(open.iter_mut().map(|(_, writing)| writing).collect(), &logits);
        let mut going = Vec::with_capacity(open.len());
        for ((row, writing), Stepped { heard, written }) in open.into_iter().zip(stepped) {
            // Whoever hears the tokens of one row may stop the others.
            if config.stop.is_raised() {
                return Err(GenerationError::Stopped);
            }
            let first = row * config.num_return_sequences;
            let tokens = heard.into_iter();
            tokens.for_each(|(number, token)| callback(first + number, token.id));
            match written? {
                Some(texts) => done[row] = texts,
                None => going.push((row, writing)),
            }
        }
        open = going;
        if !open.is_empty() {
            advance(model, &mut open.iter_mut().map(|(_, writing)| writing))?;
        }
    }
    Ok(done.into_iter().flatten().collect())
}
