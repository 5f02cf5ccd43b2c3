//! What the reference implementations computed (`tests/golden`): where it lies, how it is read, and how we are compared with
//! it. For tests alone, so what is wrong panics, with the file at fault.
//!
//! `BLIP2_GOLDEN=DIR` proves another folder of the same layout. `BLIP2_PARITY_LOG=FILE` gets a line for everything that
//! was read and compared, from which `cargo xtask parity` makes its verdict. A test belongs to that command if its path
//! contains `golden`.
//!
//! ```no_run
//! use blip2_golden::{Check, models, tolerance};
//!
//! # fn encode(_: &std::path::Path, pixels: &[f32]) -> Vec<f32> { pixels.to_vec() }
//! for model in models("SiglipVisionModel") {
//!     let expected = model.expected();
//!     let features = encode(&model.path, &expected.floats("pixel_values"));
//!     let mut check = Check::new(&model.name);
//!     check.close("features", &features, &expected.array("last_hidden"), tolerance::FEATURES);
//! } // here `check` panics if anything was too far off
//! ```

mod check;
mod folders;
mod log;
mod numbers;
mod tensors;
#[cfg(feature = "tensors")]
mod with_burn;

pub use check::{Check, tolerance};
pub use folders::{Model, find, fixture, is_model, json, models, root, variants};
pub use log::{Comparison, DEVICE, LOG, Line, Measure, ROOT};
pub use numbers::{Array, Numbers};
pub use tensors::TensorFile;
#[cfg(feature = "tensors")]
pub use with_burn::device;
