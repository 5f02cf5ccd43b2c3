//! A linear layer, and its gradients where it is multiplied in 16 bits: rounding, products and sums are given to the GPU together.

use burn::tensor::{DType, Tensor};
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;

use super::cublas::{Operand, Product};
use super::element_wise::{as_operand, round_and_sum, rounded, rounds};
use super::{as_rows, dense, empty, held, shaped, submit, with_width};

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

/// `x · weightᵀ + bias`, of the type of `x`, and `x` as it was multiplied, `[rows, inputs]`. None where the library does not make it.
pub(super) fn forward(
    x: &CubeTensor,
    weight: &CubeTensor,
    bias: Option<&CubeTensor>,
    operands: DType,
) -> Option<[CubeTensor; 2]> {
    let (dtype, shape) = (x.dtype, with_width(x.meta.shape(), weight.meta.shape()[0]));
    let (x, weight) = (as_rows(x), dense(weight));
    let multiplied = [Operand::of(&x)?, Operand::of(&transposed(&weight))?].map(|x| x.rounded(operands));
    let product = Product::of(multiplied, bias, None, dtype, &x)?;
    let x = rounded(&x, operands);
    let as_multiplied = x.clone();
    let [y] = submit([product.result.clone()], move |gpu, _| {
        gpu.in_order(|gpu| {
            let (x, weight) = (held(&x)?, as_operand(gpu, &weight, operands)?);
            product.make(gpu, [x.0, weight.0])
        })
    });
    Some([shaped(y, shape), as_multiplied])
}

/// The gradients of `x`, weight and bias of that of the result `[.., outputs]`; `x` is as it was multiplied. All but that are in single
/// precision. None where the library does not make it.
pub(super) fn backward(
    gradient: &CubeTensor,
    x: &CubeTensor,
    weight: &CubeTensor,
) -> Option<[CubeTensor; 3]> {
    let operands = x.dtype;
    let shape = with_width(gradient.meta.shape(), weight.meta.shape()[1]);
    let (gradient, x, weight) = (as_rows(gradient), x.clone(), dense(weight));
    let down = Operand::of(&gradient)?.rounded(operands);
    let across = Operand::of(&transposed(&gradient))?.rounded(operands);
    let of_weight = Operand::of(&weight)?.rounded(operands);
    let of_x = Product::of([down, of_weight], None, None, DType::F32, &x)?;
    let of_weight = Product::of([across, Operand::of(&x)?], None, None, DType::F32, &x)?;
    let of_bias = empty(&gradient, [gradient.meta.shape()[1]].into(), DType::F32);
    let results = [of_x.result.clone(), of_weight.result.clone(), of_bias];
    let [of_x, of_weight, of_bias] = submit(results, move |gpu, [.., of_bias]| {
        gpu.in_order(|gpu| {
            let gradient = round_and_sum(gpu, &gradient, of_bias, operands)?;
            let (x, weight) = (held(&x)?, as_operand(gpu, &weight, operands)?);
            of_x.make(gpu, [gradient, weight.0])?;
            of_weight.make(gpu, [gradient, x.0])
        })
    });
    Some([shaped(of_x, shape), of_weight, of_bias])
}

/// The first of these alone.
pub(super) fn backward_of_x(
    gradient: &CubeTensor,
    weight: &CubeTensor,
    operands: DType,
) -> Option<CubeTensor> {
    let (dtype, shape) = (
        gradient.dtype,
        with_width(gradient.meta.shape(), weight.meta.shape()[1]),
    );
    let (gradient, weight) = (as_rows(gradient), dense(weight));
    let multiplied = [Operand::of(&gradient)?, Operand::of(&weight)?].map(|x| x.rounded(operands));
    let product = Product::of(multiplied, None, None, dtype, &gradient)?;
    let [of_x] = submit([product.result.clone()], move |gpu, _| {
        gpu.in_order(|gpu| {
            let gradient = as_operand(gpu, &gradient, operands)?;
            let weight = as_operand(gpu, &weight, operands)?;
            product.make(gpu, [gradient.0, weight.0])
        })
    });
    Some(shaped(of_x, shape))
}

fn transposed(x: &CubeTensor) -> CubeTensor {
    permute(x.clone(), &[1, 0])
}
