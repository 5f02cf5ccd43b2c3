//! Single-precision kernels for the CPU, on the tensors of burn's flex backend.
//!
//! Every kernel gives the same bits whatever the number of threads: work is cut into pieces of a fixed size, and
//! partial sums are added in the order of the pieces.

#![allow(
    clippy::needless_range_loop,
    reason = "indices where iterators would not be compiled for the vector unit of the caller: sums then go through memory"
)]

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod bf16;
pub(crate) mod change;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod math;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod parts;
pub(crate) mod rows;
pub(crate) mod simd;
mod single;
pub(crate) mod storage;
pub(crate) mod tokens;
