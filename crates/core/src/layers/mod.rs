//! Layers that every model shares. Weights are laid out as PyTorch stores them, so that files map without a copy.

mod embedding;
mod layer_norm;
mod linear;
mod low_rank;
mod packing;
mod unit_length;

pub use blip2_kernels::Packing;
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use low_rank::LowRank;
pub use packing::PackableWeight;
pub use unit_length::unit_length;
