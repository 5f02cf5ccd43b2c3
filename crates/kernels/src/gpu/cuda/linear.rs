//! A linear layer, and its gradients where it is multiplied in 16 bits: rounding, products and sums are given to the GPU together.

use burn::tensor::{DType, Tensor};
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use super::element_wise::{rounded, rounded_and_summed, rounds};
use super::{Fallible, Gpu, as_rows, contiguous, cublas, dense, shaped, where_is, with_width};

const WANTED: &str = "linear layers in several kernels";

/// Whether all of this is there for `x` `[.., inputs]` and `weight` `[outputs, inputs]`, neither of them on a graph, where operands are
/// rounded to `operands`.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, operands: DType) -> bool {
    let [outputs, inputs] = weight.dims();
    let count = x.shape().num_elements();
    let even = |count: usize| count > 0 && count.is_multiple_of(2);
    (x.dtype() == DType::F32 || x.dtype() == operands)
        && (weight.dtype() == DType::F32 || weight.dtype() == operands)
        && even(count)
        && even(inputs)
        && even(outputs)
        && i32::try_from((count / inputs).max(inputs).max(outputs)).is_ok()
        && rounds(x, operands)
}

/// `x · weightᵀ + bias`, of the type of `x`, and `x` as it was multiplied, `[rows, inputs]`. None where the GPU does not take it.
pub(super) fn forward(
    x: &CubeTensor,
    weight: &CubeTensor,
    bias: Option<&CubeTensor>,
    operands: DType,
) -> Option<[CubeTensor; 2]> {
    where_is(x, WANTED, |gpu| {
        let (dtype, shape) = (x.dtype, with_width(x.meta.shape(), weight.meta.shape()[0]));
        let (x, weight) = (as_rows(x), dense(weight));
        let bias = bias.map(contiguous);
        let [y, x] = gpu.in_order(|gpu| {
            let x = rounded(gpu, &x, operands)?;
            let weight = permute(rounded(gpu, &weight, operands)?, &[1, 0]);
            let y = product(gpu, &x, &weight, bias.as_ref(), dtype)?;
            Ok([y, x])
        })?;
        Ok(Some([shaped(y, shape), x]))
    })
}

/// The gradients of `x`, weight and bias of that of the result `[.., outputs]`; `x` is as it was multiplied. All but that are in single
/// precision. None where the GPU does not take it.
pub(super) fn backward(
    gradient: &CubeTensor,
    x: &CubeTensor,
    weight: &CubeTensor,
) -> Option<[CubeTensor; 3]> {
    where_is(gradient, WANTED, |gpu| {
        let shape = with_width(gradient.meta.shape(), weight.meta.shape()[1]);
        let (gradient, weight) = (as_rows(gradient), dense(weight));
        let [of_x, of_weight, of_bias] = gpu.in_order(|gpu| {
            let [gradient, of_bias] = rounded_and_summed(gpu, &gradient, x.dtype)?;
            let weight = rounded(gpu, &weight, x.dtype)?;
            let of_x = product(gpu, &gradient, &weight, None, DType::F32)?;
            let of_weight = product(gpu, &permute(gradient, &[1, 0]), x, None, DType::F32)?;
            Ok([of_x, of_weight, of_bias])
        })?;
        Ok(Some([shaped(of_x, shape), of_weight, of_bias]))
    })
}

/// The first of these alone.
pub(super) fn backward_of_x(
    gradient: &CubeTensor,
    weight: &CubeTensor,
    operands: DType,
) -> Option<CubeTensor> {
    where_is(gradient, WANTED, |gpu| {
        let (dtype, shape) = (
            gradient.dtype,
            with_width(gradient.meta.shape(), weight.meta.shape()[1]),
        );
        let (gradient, weight) = (as_rows(gradient), dense(weight));
        let of_x = gpu.in_order(|gpu| {
            let gradient = rounded(gpu, &gradient, operands)?;
            let weight = rounded(gpu, &weight, operands)?;
            product(gpu, &gradient, &weight, None, dtype)
        })?;
        Ok(Some(shaped(of_x, shape)))
    })
}

fn product(
    gpu: &mut Gpu,
    a: &CubeTensor,
    b: &CubeTensor,
    bias: Option<&CubeTensor>,
    dtype: DType,
) -> Fallible<CubeTensor> {
    let product = cublas::multiply(gpu, [a, b], bias, None, dtype)?;
    product.ok_or_else(|| {
        format!(
            "cuBLASLt does not multiply {:?} and {:?}",
            a.meta.shape(),
            b.meta.shape()
        )
    })
}
