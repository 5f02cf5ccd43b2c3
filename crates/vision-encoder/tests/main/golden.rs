//! Where the reference data is, and how far we are from it.

use std::path::PathBuf;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use burn::tensor::{Device, Tensor};

pub(crate) fn folder(name: &str) -> PathBuf {
    let root = std::env::var_os("BLIP2_GOLDEN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")),
        PathBuf::from,
    );
    root.join(name)
}

pub(crate) fn tensor<const D: usize>(store: &SafetensorsStore, name: &str) -> Tensor<D> {
    Tensor::from_data(store.read(name).unwrap(), &Device::flex())
}

/// Asserts that every value lies within `tolerance` times the largest expected magnitude.
pub(crate) fn assert_close<const D: usize>(
    what: &str,
    actual: Tensor<D>,
    expected: Tensor<D>,
    tolerance: f32,
) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let largest: f32 = expected.clone().abs().max().into_scalar();
    let difference: f32 = (actual - expected).abs().max().into_scalar();
    assert!(
        difference <= tolerance * largest,
        "{what}: off by {difference}, largest value {largest}, relative {}",
        difference / largest
    );
}
