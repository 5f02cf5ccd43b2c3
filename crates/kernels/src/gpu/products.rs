//! Products of two matrices on GPUs: NVIDIA's by their own library, the others by burn.

use burn::tensor::{DType, Tensor};

use crate::products::Products;

/// What `x` is rounded to where it is multiplied.
pub(crate) fn operands<const D: usize>(x: &Tensor<D>, products: Products) -> DType {
    match products {
        Products::Bf16 if x.device().supports_dtype(DType::BF16) => DType::BF16,
        Products::F32 | Products::Bf16 => x.dtype(),
    }
}

/// The product of `a` `[m, k]` and `b` `[k, n]`, plus `bias` `[n]`, as numbers of the type `dtype`. None of them is on a graph.
pub(crate) fn product(
    a: Tensor<2>,
    b: Tensor<2>,
    bias: Option<Tensor<1>>,
    products: Products,
    dtype: DType,
) -> Tensor<2> {
    #[cfg(feature = "cuda")]
    if super::cuda::on_cuda(&a) {
        return of_library(a, b, bias, products, dtype);
    }
    let operands = operands(&a, products);
    let product = a.cast(operands).matmul(b.cast(operands)).cast(dtype);
    match bias {
        Some(bias) => product + bias.cast(dtype).unsqueeze(),
        None => product,
    }
}

/// As [`product`], of as many matrices `[.., m, k]` and `[.., k, n]`.
#[cfg(feature = "cuda")]
pub(crate) fn of_library<const D: usize>(
    a: Tensor<D>,
    b: Tensor<D>,
    bias: Option<Tensor<1>>,
    products: Products,
    dtype: DType,
) -> Tensor<D> {
    use burn::backend::Dispatch;

    use super::cuda::operations::OnCuda;

    let operands = operands(&a, products);
    let [a, b] = [a, b].map(|x| x.cast(operands).into_dispatch());
    let bias = bias.map(|bias| bias.cast(dtype));
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::product_with_bias(a, b, bias.into_dispatch(), dtype),
        None => Dispatch::product_alone(a, b, dtype),
    })
}

/// As [`product`] with `added` `[m, n]`, of whose type it is, plus that.
#[cfg(feature = "cuda")]
pub(crate) fn added(
    a: Tensor<2>,
    b: Tensor<2>,
    bias: Tensor<1>,
    added: Tensor<2>,
    products: Products,
) -> Tensor<2> {
    use burn::backend::Dispatch;

    use super::cuda::operations::OnCuda;

    let operands = operands(&a, products);
    let [a, b] = [a, b].map(|x| x.cast(operands).into_dispatch());
    let bias = bias.cast(added.dtype());
    Tensor::from_dispatch(Dispatch::product_added(
        a,
        b,
        bias.into_dispatch(),
        added.into_dispatch(),
    ))
}
