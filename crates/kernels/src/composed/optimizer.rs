//! AdamW out of ordinary tensor operations.

use burn::tensor::{DType, Tensor};

use crate::AdamWStep;

pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first_moment: Tensor<D>,
    second_moment: Tensor<D>,
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (first_correction, second_correction) = step.corrections();
    let gradient = gradient.mul_scalar(step.gradient_scale);
    let first_moment = first_moment.mul_scalar(step.beta1) + gradient.clone().mul_scalar(1.0 - step.beta1);
    let second_moment = second_moment.mul_scalar(step.beta2) + gradient.square().mul_scalar(1.0 - step.beta2);
    let divisor = second_moment
        .clone()
        .mul_scalar(second_correction)
        .sqrt()
        .add_scalar(step.epsilon);
    let update = first_moment
        .clone()
        .mul_scalar(step.learning_rate * first_correction)
        / divisor;
    let kept = parameter.mul_scalar(1.0 - step.learning_rate * step.weight_decay);
    (kept - update, first_moment, second_moment)
}

pub(crate) fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    let widest = if x.device().supports_dtype(DType::F64) {
        DType::F64
    } else {
        DType::F32
    };
    x.clone().cast(widest).square().sum().into_scalar()
}
