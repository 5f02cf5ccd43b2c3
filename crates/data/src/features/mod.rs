//! Features of a frozen encoder, computed once, stored in half precision, mapped into memory and read back as batches.
//!
//! A store is a safetensors file with one tensor, `features` `[count, tokens, width]` of f16, and a content key in its
//! metadata: what was encoded, by which weights, under which settings. A store under another key is not read.

mod error;
mod store;
mod writer;

pub use error::FeatureError;
pub use store::{FeatureStore, content_key};
pub use writer::FeatureWriter;

/// The one tensor of a store.
const TENSOR: &str = "features";
/// The metadata entry that holds the content key.
const KEY: &str = "key";
/// Bytes of the header's own length, before the header.
const LENGTH_BYTES: usize = 8;
/// Bytes of one value.
const HALF_BYTES: usize = 2;
