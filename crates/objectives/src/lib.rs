//! The objectives of both stages. Each gives its loss and what the next one or a log needs; none knows a trainer.

mod contrastive;
mod generation;
mod generative;
mod matching;
mod names;
mod representation;

pub use contrastive::{Contrast, contrast};
pub use generation::generation_loss;
pub use generative::Bridge;
pub use matching::{Negatives, draw_negatives, matching_loss};
pub use names::{LAVIS_LLAMA_BRIDGE, LAVIS_OPT_BRIDGE, LAVIS_T5_BRIDGE};
pub use representation::{NegativeSource, RepresentationLoss, RepresentationOptions, representation_loss};
