//! Every operation against scalar references in double precision, and its fast path against its definition.

mod activation;
mod attention;
mod embedding;
#[cfg(unix)]
mod gpu_kernels;
mod linear;
mod loss;
mod norm;
mod optimizer;
mod packed;
mod processes;
mod products;
mod recompute;
mod support;
mod tokens;
