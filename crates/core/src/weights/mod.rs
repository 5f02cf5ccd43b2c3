//! Where weights come from and go to: stores that name tensors, maps between their names and ours, and loading that
//! either succeeds as a whole or leaves the model as it was.

mod assembled;
mod error;
mod gguf;
mod index;
mod load;
mod map;
mod names;
mod onnx;
mod open;
mod parameters;
mod pytorch;
mod pytorch_write;
mod safetensors;
mod shards;
mod store;
mod views;
mod write;

pub use assembled::{Assembled, Part};
pub use error::WeightError;
pub use gguf::{GgufStore, GgufValue};
pub(crate) use load::AS_STORED;
pub use load::{LoadOptions, check, load};
pub use names::{NameMap, is_buffer};
pub use onnx::OnnxStore;
pub use open::{open_any, open_weights};
pub use parameters::{ParameterInfo, collect, fingerprint, parameters};
pub use pytorch::PytorchStore;
pub use pytorch_write::write_pytorch;
pub use safetensors::SafetensorsStore;
pub use store::{TensorInfo, TensorStore, half_precision};
pub use views::Views;
pub use write::{SHARD_BYTES, write_safetensors, write_shards, write_store};
