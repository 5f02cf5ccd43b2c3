//! How well a model does, from plain scores and plain text: recall in a gallery, answers and captions against the
//! truth, and what a text costs that knows nothing of its picture. Nothing here knows a tensor.
//!
#![doc = include_str!("../README.md")]

pub mod caption;
mod error;
pub mod official;
pub mod retrieval;
pub mod text;
pub mod vqa;

pub use error::EvaluationError;
