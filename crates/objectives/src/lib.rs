//! The objectives of both stages. Each gives its loss and what the next one or a log needs; none knows a trainer.
//!
#![doc = include_str!("../README.md")]

mod global_batch;
mod hard_negatives;
mod itc;
mod itg;
mod itm;
mod language_modelling;
mod parts;
mod representation;
mod terms;

/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use global_batch::{FeaturesOf, RepresentationStep};
pub use hard_negatives::{NegativeSource, NegativeWeights, Negatives, draw_negatives, negative_weights};
pub use itc::{Embeddings, Similarities, itc_loss, itc_loss_among, similarities};
pub use itg::itg_loss;
pub use itm::{itm_logits, itm_loss};
pub use language_modelling::language_modelling_loss;
pub use parts::{PartSums, StepGradients, SumOrder, average_over_parts, sums_of_parts};
pub use representation::{
    ItgMean, RepresentationLoss, RepresentationOptions, RepresentationWeights, representation_loss,
};
pub use terms::{Term, Terms};
