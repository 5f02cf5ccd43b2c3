//! What goes into BLIP-2: pixels as the reference processor makes them, cleaned and tokenised text, data sets, features of a
//! frozen encoder stored on disk, and the order in which a run reads them.
//!
#![doc = include_str!("../README.md")]
//!
//! Everything random here is a pure function of a seed: no global state, no clock.

mod ahead;
pub mod features;
pub mod loader;
pub mod mixture;
pub mod order;
mod permutation;
pub mod pixels;
mod random;
mod recent;
pub mod sets;
pub mod text;

pub use ahead::ahead;
/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use random::Stream;
