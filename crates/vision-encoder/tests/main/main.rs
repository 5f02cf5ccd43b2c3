//! Everything that this crate promises, from outside.

mod clip;
mod conformance;
mod dinov2;
mod golden;
mod hugging_face;
mod lavis;
mod saliency;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_golden::device;
use burn::tensor::Tensor;

/// A tensor of a weight file, in the file's number format.
fn tensor<const D: usize>(store: &SafetensorsStore, name: &str) -> Tensor<D> {
    Tensor::from_data(store.read(name).unwrap(), &device())
}
