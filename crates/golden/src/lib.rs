//! What the reference implementations computed (`tests/golden`): where it lies, how it is read, and how we are compared with
//! it. For tests alone, so what is wrong panics, with the file at fault.
//!
#![doc = include_str!("../README.md")]
//!
//! `BLIP2_PARITY_LOG=FILE` gets a line for everything that was read and compared, from which `cargo xtask parity` makes its
//! verdict. A test belongs to that command if its path contains `golden`.

mod check;
mod folders;
mod log;
mod numbers;
mod tensors;
#[cfg(feature = "tensors")]
mod with_burn;

pub use check::{Check, each, tolerance};
pub use folders::{Model, find, fixture, is_model, json, models, root, variants};
pub use log::{Comparison, DEVICE, LOG, Line, Measure, ROOT};
pub use numbers::{Array, Numbers};
pub use tensors::TensorFile;
#[cfg(feature = "tensors")]
pub use with_burn::device;
