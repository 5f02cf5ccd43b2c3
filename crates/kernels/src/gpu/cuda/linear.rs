//! A linear layer of tensors in single precision whose products are made in 16 bits, and its gradients: rounding, products and sums are
//! given to the GPU together.

use burn::tensor::{DType, Tensor};
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use super::element_wise::{rounded, rounded_and_summed, rounds};
use super::{Fallible, Gpu, contiguous, cublas, where_is};

const WANTED: &str = "linear layers in several kernels";

/// Whether all of this is there for `x` `[rows, inputs]` and `weight` `[outputs, inputs]`, neither of them on a graph, where operands are
/// rounded to `operands`.
pub(crate) fn serves(x: &Tensor<2>, weight: &Tensor<2>, operands: DType) -> bool {
    let ([rows, inputs], [outputs, _]) = (x.dims(), weight.dims());
    let even = |count: usize| count > 0 && count.is_multiple_of(2);
    x.dtype() == DType::F32
        && (weight.dtype() == DType::F32 || weight.dtype() == operands)
        && rows > 0
        && even(inputs)
        && even(outputs)
        && i32::try_from(rows.max(inputs).max(outputs)).is_ok()
        && rounds(x, operands)
}

/// `x · weightᵀ + bias` in single precision, and `x` as it was multiplied. None where the GPU does not take it.
pub(super) fn forward(
    x: &CubeTensor,
    weight: &CubeTensor,
    bias: Option<&CubeTensor>,
    operands: DType,
) -> Option<[CubeTensor; 2]> {
    where_is(x, WANTED, |gpu| {
        let [x, weight] = [x, weight].map(contiguous);
        let bias = bias.map(contiguous);
        let [y, x] = gpu.in_order(|gpu| {
            let x = rounded(gpu, &x, operands)?;
            let weight = permute(rounded(gpu, &weight, operands)?, &[1, 0]);
            let y = product(gpu, &x, &weight, bias.as_ref())?;
            Ok([y, x])
        })?;
        Ok(Some([y, x]))
    })
}

/// The gradients of `x`, weight and bias of that of the result `[rows, outputs]`; `x` is as it was multiplied. None where the GPU does not
/// take it.
pub(super) fn backward(
    gradient: &CubeTensor,
    x: &CubeTensor,
    weight: &CubeTensor,
) -> Option<[CubeTensor; 3]> {
    where_is(gradient, WANTED, |gpu| {
        let [gradient, weight] = [gradient, weight].map(contiguous);
        let gradients = gpu.in_order(|gpu| {
            let [gradient, of_bias] = rounded_and_summed(gpu, &gradient, x.dtype)?;
            let weight = rounded(gpu, &weight, x.dtype)?;
            let of_x = product(gpu, &gradient, &weight, None)?;
            let of_weight = product(gpu, &permute(gradient, &[1, 0]), x, None)?;
            Ok([of_x, of_weight, of_bias])
        })?;
        Ok(Some(gradients))
    })
}

/// The first of these alone.
pub(super) fn backward_of_x(
    gradient: &CubeTensor,
    weight: &CubeTensor,
    operands: DType,
) -> Option<CubeTensor> {
    where_is(gradient, WANTED, |gpu| {
        let [gradient, weight] = [gradient, weight].map(contiguous);
        let of_x = gpu.in_order(|gpu| {
            let gradient = rounded(gpu, &gradient, operands)?;
            let weight = rounded(gpu, &weight, operands)?;
            product(gpu, &gradient, &weight, None)
        })?;
        Ok(Some(of_x))
    })
}

fn product(gpu: &mut Gpu, a: &CubeTensor, b: &CubeTensor, bias: Option<&CubeTensor>) -> Fallible<CubeTensor> {
    let product = cublas::multiply(gpu, [a, b], bias, None, DType::F32)?;
    product.ok_or_else(|| {
        format!(
            "cuBLASLt does not multiply {:?} and {:?}",
            a.meta.shape(),
            b.meta.shape()
        )
    })
}
