//! Writing text with any [`blip2_core::NextTokenModel`]: greedy, beam search and sampling, with the meaning that
//! `transformers` 5 gives to each setting.

mod beam;
mod config;
mod distribution;
mod error;
mod rules;
mod sequential;

use blip2_core::NextTokenModel;

pub use config::{EarlyStopping, GenerationConfig};
pub use error::GenerationError;

/// A text that a model wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new ids alone, the end token included where the text reached one.
    pub ids: Vec<u32>,
    /// Sum of the log-probabilities of `ids` as the search saw them (after penalties, temperature, and cuts), divided by
    /// `ids.len()` to the power of the length penalty.
    pub score: f64,
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
/// settings leave fewer texts than are asked for, [`GenerationError::Model`] from the model.
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
    if config.num_beams > 1 {
        beam::search(model, history, streams, config, callback)
    } else {
        sequential::search(model, history, streams, config, callback)
    }
}
