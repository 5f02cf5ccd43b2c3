//! Everything that this crate promises, from outside.

mod clip;
mod conformance;
mod dinov2;
mod golden;
mod hugging_face;
mod lavis;
mod saliency;
