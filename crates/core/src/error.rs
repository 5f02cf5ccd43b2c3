//! What can be wrong with the input of a model.

use thiserror::Error;

/// An input that a model cannot take. The model itself is unchanged after any of these.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor whose shape the model does not take.
    #[error("{tensor} has shape {actual:?}, but {expected} is needed: {hint}")]
    Shape {
        /// Name of the tensor, as the documentation calls it.
        tensor: &'static str,
        /// What would fit, such as `[batch, 3, 224, 224]`.
        expected: String,
        /// What was given.
        actual: Vec<usize>,
        /// What to do about it.
        hint: &'static str,
    },
    /// A token id outside of the vocabulary.
    #[error(
        "token id {id} lies outside of the vocabulary of {vocabulary}: the tokenizer and the weights belong to different models"
    )]
    Vocabulary {
        /// The offending id.
        id: u32,
        /// Number of rows of the embedding.
        vocabulary: usize,
    },
    /// More tokens than the model has positions.
    #[error(
        "{tokens} tokens do not fit into the {limit} positions of {model}: shorten the text or the prompt"
    )]
    Context {
        /// Which model.
        model: &'static str,
        /// Tokens asked for.
        tokens: usize,
        /// Positions that exist.
        limit: usize,
    },
    /// Results that are no numbers.
    #[error(
        "the {what} of the model are no finite numbers: its weights are damaged, or the number format that they are kept in is \
         too narrow for them (try `f32`)"
    )]
    NotFinite {
        /// Which results.
        what: &'static str,
    },
    /// A configuration or a batch that contradicts itself.
    #[error("{0}")]
    Invalid(String),
}
