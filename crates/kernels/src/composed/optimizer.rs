//! AdamW out of ordinary tensor operations.

use burn::tensor::{DType, Tensor};

use crate::{AdamWStep, Scalar};

pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first_moment: Tensor<D>,
    second_moment: Tensor<D>,
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let scale = match &step.gradient_scale {
        Scalar::Known(scale) => {
            let gradient = gradient.mul_scalar(*scale);
            return scaled(parameter, gradient, first_moment, second_moment, step);
        }
        Scalar::OnDevice(scale) => scale.clone().cast(gradient.dtype()).reshape([1; D]),
    };
    let unusable = scale.clone().is_nan().expand(gradient.dims());
    let before = [parameter.clone(), first_moment.clone(), second_moment.clone()];
    let after = scaled(parameter, gradient * scale, first_moment, second_moment, step);
    let [parameter, first, second] = before;
    (
        after.0.mask_where(unusable.clone(), parameter),
        after.1.mask_where(unusable.clone(), first),
        after.2.mask_where(unusable, second),
    )
}

fn scaled<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first_moment: Tensor<D>,
    second_moment: Tensor<D>,
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (first_correction, second_correction) = step.corrections();
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

/// The sum of squares `[1]`, in double precision where the device has it.
pub(crate) fn squares<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    let widest = if x.device().supports_dtype(DType::F64) {
        DType::F64
    } else {
        DType::F32
    };
    x.clone().cast(widest).square().sum()
}
