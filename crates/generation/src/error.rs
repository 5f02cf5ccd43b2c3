//! What can go wrong while text is written.

use blip2_core::ModelError;
use thiserror::Error;

/// A text that could not be written.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// Settings that contradict themselves.
    #[error("the generation settings cannot be used: {0}")]
    Config(&'static str),
    /// A history for another number of texts than the model holds.
    #[error("the model holds {model} rows, but {history} histories were given: one for each row is needed")]
    Rows {
        /// Rows of the model.
        model: usize,
        /// Histories given.
        history: usize,
    },
    /// Logits from which no probabilities can be made.
    #[error("the model gave logits that are not numbers for row {row}: its weights or its input are damaged")]
    NotFinite {
        /// Row of the batch.
        row: usize,
    },
    /// The model refused, or its logits could not be read.
    #[error("the language model cannot continue the text")]
    Model(#[from] ModelError),
}
