//! What each operation means, in burn's own tensor operations: the definition on every backend and in every float
//! type, and the yardstick that the fast paths are tested against.

mod activation;
mod attention;
mod embedding;
mod loss;
mod norm;
mod optimizer;

pub(crate) use activation::{gelu, gelu_tanh, quick_gelu, silu_gate, softmax};
#[cfg(feature = "cuda")]
pub(crate) use attention::rows_read;
pub(crate) use attention::{attention, attention_in_parts};
#[cfg(any(feature = "gpu", test))]
pub(crate) use attention::{gathered, spread, weights};
pub(crate) use embedding::embedding;
pub(crate) use loss::{cross_entropy, linear};
pub(crate) use norm::{layer_norm, rms_norm};
pub(crate) use optimizer::{adamw, squares};

use burn::tensor::{DType, Tensor};

use crate::products::Products;

/// The product of two matrices, or of many, in the type of `a`. A GPU without bfloat16 keeps to that type throughout; one of NVIDIA's
/// multiplies by its own library what is off the graph.
pub(crate) fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>, products: Products) -> Tensor<D> {
    let dtype = a.dtype();
    #[cfg(feature = "cuda")]
    if crate::gpu::cuda::on_cuda(&a)
        && crate::gpu::cuda::on_cuda(&b)
        && a.dims()[..D - 2] == b.dims()[..D - 2]
    {
        return crate::gpu::products::of_library(a, b, None, products, dtype);
    }
    match products {
        Products::Bf16 if a.device().supports_dtype(DType::BF16) => {
            a.cast(DType::BF16).matmul(b.cast(DType::BF16)).cast(dtype)
        }
        Products::F32 | Products::Bf16 => a.matmul(b),
    }
}

/// `f(x)` in at least single precision, in the type of `x` again: sums over half-precision rows lose too much.
fn in_single_precision<const D: usize>(x: Tensor<D>, f: impl FnOnce(Tensor<D>) -> Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        narrow @ (DType::F16 | DType::BF16) => f(x.cast(DType::F32)).cast(narrow),
        _ => f(x),
    }
}
