//! AdamW on NVIDIA's GPUs: a kernel for each parameter.

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use super::cuda;
use super::cuda::operations::OnCuda;
use crate::AdamWStep;

/// Whether there is a kernel for these: parameter, gradient and moments.
pub(crate) fn serves<const D: usize>(tensors: &[Tensor<D>; 4]) -> bool {
    let [parameter, ..] = tensors;
    tensors.iter().all(|x| x.dtype() == DType::F32) && cuda::element_wise::serves(parameter)
}

/// Whether there is a kernel for the sum of squares of `gradient`.
pub(crate) fn serves_norm<const D: usize>(gradient: &Tensor<D>) -> bool {
    gradient.dtype() == DType::F32 && cuda::element_wise::serves(gradient)
}

/// The sum of squares `[1]` of numbers in single precision, in double precision.
pub(crate) fn squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::squares_of(x.into_dispatch()))
}

/// As [`crate::adamw`], with the factor on the gradient `[1]` on the device.
pub(crate) fn adamw<const D: usize>(
    tensors: [Tensor<D>; 4],
    scale: Tensor<1>,
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let [parameter, gradient, first, second] = tensors.map(Tensor::into_dispatch);
    let scale = scale.cast(DType::F32).into_dispatch();
    let (parameter, first, second) = Dispatch::moved(parameter, gradient, first, second, scale, step.into());
    (
        Tensor::from_dispatch(parameter),
        Tensor::from_dispatch(first),
        Tensor::from_dispatch(second),
    )
}
