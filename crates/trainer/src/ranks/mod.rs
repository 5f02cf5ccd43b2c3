//! Training over ranks: which rows are whose, what travels in a step, and how all begin as one.

mod exchange;
mod gradients;
mod share;
mod together;

pub(crate) use exchange::{Elsewhere, gather_embeddings, gather_lengths, gather_pictures};
pub use gradients::mean_over_ranks;
pub(crate) use share::Share;
pub(crate) use together::{begin_together, is_the_same};
