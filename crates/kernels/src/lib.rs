//! The tensor operations that decide the speed of BLIP-2.
//!
#![doc = include_str!("../README.md")]
//!
//! Each operation is defined once, in the private `composed` module, out of burn's own tensor operations: that
//! definition runs, and differentiates, on every backend and in every float type. Tensors in single precision on
//! burn's flex backend, the one for the CPU, take a kernel of their own instead, with a backward pass of its own;
//! `BLIP2_KERNELS=composed` in the environment switches the kernels off; `avx512` keeps them from tile registers, `avx2`
//! and `baseline` hold their element-wise parts and their products in bfloat16 to older vector units.
//!
//! # Panics
//!
//! As everywhere in burn, shapes that do not fit are a mistake of the caller: every function checks its arguments
//! and panics with the operation, the shapes it got and the shapes it wants.

mod activation;
mod attention;
mod cache;
mod composed;
mod draws;
mod embedding;
mod extension;
mod flex;
#[cfg(any(feature = "gpu", test))]
mod gpu;
mod gradient;
mod gradient_norm;
mod linear;
mod loss;
mod norm;
#[cfg(any(feature = "gpu", test))]
mod on_device;
mod optimizer;
mod packed;
mod packed_rows;
mod products;
mod recompute;
mod setting;
mod tokens;

pub use activation::{gelu, gelu_tanh, quick_gelu, silu_gate, softmax};
pub use attention::{AttentionOptions, KeyPart, PartRead, attention, attention_in_parts};
/// The tensors that signatures here speak of, in the one version that they can be of.
pub use burn;
pub use cache::{CacheReads, KeyValueCache};
pub use draws::{learns, random_mask};
pub use embedding::embedding;
pub use gradient_norm::{GradientNorm, Scalar};
pub use linear::{add_linear, linear};
pub use loss::{CrossEntropyOptions, cross_entropy, linear_cross_entropy};
pub use norm::{add_layer_norm, layer_norm, rms_norm};
pub use optimizer::{AdamWStep, adamw, sum_of_squares};
pub use packed::{PackError, PackedWeight, Packing, packed_linear};
pub use packed_rows::packed_embedding;
pub use products::{Products, multiplies_bf16, with_products};
pub use recompute::{Tensors, recompute, recomputes_on};
pub use tokens::{join_tokens, split_tokens};
