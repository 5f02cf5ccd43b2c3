//! What can go wrong while text is written.

use blip2_core::ModelError;
use thiserror::Error;

/// A text that could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// Settings that contradict themselves.
    #[error("the generation settings cannot be used: {0}")]
    Config(&'static str),
    /// Histories or streams for another number of texts than the model holds.
    #[error(
        "the model holds {model} rows, but {given} histories or streams were given: one for each row is needed"
    )]
    Rows {
        /// Rows of the model.
        model: usize,
        /// Histories or streams given.
        given: usize,
    },
    /// Logits from which no probabilities can be made.
    #[error("the model gave logits that are not numbers for row {row}: its weights or its input are damaged")]
    NotFinite {
        /// Row of the batch.
        row: usize,
    },
    /// Settings that leave fewer texts than were asked for.
    #[error(
        "the settings allow only {found} of {wanted} texts for row {row}: ask for fewer, or cut fewer tokens (top_k, top_p, \
         no_repeat_ngram_size)"
    )]
    TooFew {
        /// Row of the batch.
        row: usize,
        /// Texts that could be written.
        found: usize,
        /// Texts asked for.
        wanted: usize,
    },
    /// More tokens asked for than the model can write behind the prompt.
    #[error(
        "{wanted} tokens cannot be written behind this prompt, only {room}: shorten the prompt, or ask for fewer (max_new_tokens)"
    )]
    NoRoom {
        /// Tokens that can be written.
        room: usize,
        /// Tokens asked for.
        wanted: usize,
    },
    /// The flag of the settings was raised ([`crate::StopFlag`]).
    #[error("the writing was stopped before its end")]
    Stopped,
    /// The model refused, or its logits could not be read.
    #[error("the language model cannot continue the text")]
    Model(#[from] ModelError),
}
