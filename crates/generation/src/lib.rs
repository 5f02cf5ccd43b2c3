//! Writing text with any [`blip2_core::NextTokenModel`]: greedy, beam search and sampling, with the meaning that
//! `transformers` 5 gives to each setting.

mod beam;
mod config;
mod distribution;
mod error;
mod rules;
mod sequential;

use blip2_core::NextTokenModel;

pub use config::GenerationConfig;
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

/// Called with a row and a token, in the order of the text.
pub type TokenCallback<'a> = &'a mut dyn FnMut(usize, u32);

/// Continues every row of `model` and returns one text a row.
///
/// `history` holds, for each row, the ids that repetition penalty and n-gram rule count as written before: usually the
/// prompt. `callback` hears each token when it is decided: at once in greedy search and sampling, at the end of a row in
/// beam search, where nothing is decided earlier.
///
/// # Errors
/// [`GenerationError::Config`] for settings that contradict themselves, [`GenerationError::Rows`] where `history` does not
/// fit the model, [`GenerationError::NotFinite`] for logits that are no numbers, [`GenerationError::Model`] from the model.
pub fn generate(
    model: &mut dyn NextTokenModel,
    history: &[Vec<u32>],
    config: &GenerationConfig,
    callback: Option<TokenCallback>,
) -> Result<Vec<Generated>, GenerationError> {
    config.check()?;
    let [rows, _] = model.logits().dims();
    if rows != history.len() {
        return Err(GenerationError::Rows {
            model: rows,
            history: history.len(),
        });
    }
    let mut ignore = |_, _| {};
    let callback = callback.unwrap_or(&mut ignore);
    if config.num_beams > 1 {
        beam::search(model, history, config, callback)
    } else {
        sequential::search(model, history, config, callback)
    }
}
