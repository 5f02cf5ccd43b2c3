//! AdamW, the optimiser's step, and sums of squares.

use burn::backend::Flex;
use burn::tensor::Tensor;

use crate::extension::{facts, primitive, takes};
use crate::{Scalar, composed, flex};

/// Hyper-parameters of one [`adamw`] step.
#[derive(Clone, Debug)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
    /// Factor on the gradient: [`GradientNorm::clip`](crate::GradientNorm::clip). Where it is NaN on the device, the step leaves
    /// parameter and moments as they are.
    pub gradient_scale: Scalar,
}

impl AdamWStep {
    /// What makes the first and the second moment unbiased: `1 / (1 - beta^step)`.
    pub(crate) fn corrections(&self) -> (f64, f64) {
        let correction = |beta: f64| (1.0 - beta.powf(self.step as f64)).recip();
        (correction(self.beta1), correction(self.beta2))
    }
}

/// One step of AdamW (Loshchilov and Hutter, 2019), the same as `torch.optim.AdamW`.
///
/// All four tensors have one shape and are plain, not on an autodiff device; the moments start as zeros. Returns the
/// new parameter, first moment and second moment.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first_moment: Tensor<D>,
    second_moment: Tensor<D>,
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let shape = parameter.dims();
    assert!(
        gradient.dims() == shape && first_moment.dims() == shape && second_moment.dims() == shape,
        "adamw: gradient {:?} and moments {:?}, {:?} must have the shape of the parameter {shape:?}",
        gradient.dims(),
        first_moment.dims(),
        second_moment.dims()
    );
    assert!(step.step > 0, "adamw: steps are numbered from 1");
    let tensors = [parameter, gradient, first_moment, second_moment];
    assert!(
        tensors.iter().all(|tensor| !tensor.is_autodiff()),
        "adamw: the tensors must be plain, not on an autodiff device"
    );
    if let Scalar::Known(scale) = step.gradient_scale
        && takes(&tensors.each_ref().map(facts))
    {
        let [parameter, gradient, first, second] = tensors.map(primitive);
        return flex::optimizer::adamw(parameter, gradient, first, second, step, scale)
            .map(Tensor::from_primitive::<Flex>)
            .into();
    }
    #[cfg(feature = "cuda")]
    if let Scalar::OnDevice(scale) = &step.gradient_scale
        && crate::gpu::optimizer::serves(&tensors)
    {
        return crate::gpu::optimizer::adamw(tensors, scale.clone(), step);
    }
    let [parameter, gradient, first_moment, second_moment] = tensors;
    composed::adamw(parameter, gradient, first_moment, second_moment, step)
}

/// Sum of the squares of all elements, added up in double precision where the device has it; any shape, any float type.
pub fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    let x = if x.is_autodiff() {
        x.clone().inner()
    } else {
        x.clone()
    };
    if takes(&[facts(&x)]) {
        flex::optimizer::sum_of_squares(primitive(x))
    } else {
        composed::squares(&x).into_scalar()
    }
}
