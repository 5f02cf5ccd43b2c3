//! RMS norm (root mean square normalisation).

use blip2_core::Initializer;
use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// Divides by the root of the mean square of the last dimension, then scales (Zhang and Sennrich, 2019).
#[derive(Module, Debug)]
pub(crate) struct RmsNorm {
    /// Scale, `[width]`.
    weight: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl RmsNorm {
    /// Scale one.
    pub(crate) fn new(initializer: &mut Initializer, width: usize, epsilon: f64) -> Self {
        Self {
            weight: initializer.constant([width], 1.0),
            epsilon,
        }
    }

    /// Normalises `x` `[.., width]`.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        kernels::rms_norm(x, self.weight.val(), self.epsilon)
    }
}
