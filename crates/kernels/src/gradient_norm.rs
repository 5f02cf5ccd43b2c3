//! The global norm of gradients, and the factor that clips them by it, without waiting for the device.

use burn::tensor::{DType, Tensor};

use crate::extension::{facts, primitive, takes};
use crate::{composed, flex};

/// The norm over the gradients of many tensors. On the processor it is known as soon as they are; elsewhere it stays on the
/// device until it is read.
#[derive(Clone, Debug)]
pub struct GradientNorm {
    /// The sum of squares so far.
    squares: Scalar,
}

/// A number that a step goes on with, whether it is known already or still on the device.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few in a step")]
pub enum Scalar {
    /// A number.
    Known(f64),
    /// `[1]`.
    OnDevice(Tensor<1>),
}

impl From<f64> for Scalar {
    fn from(number: f64) -> Self {
        Self::Known(number)
    }
}

impl Default for GradientNorm {
    fn default() -> Self {
        Self {
            squares: Scalar::Known(0.0),
        }
    }
}

impl GradientNorm {
    /// Takes one more gradient in, of any shape and float type; squares are added up in double precision where the device
    /// has it.
    pub fn add<const D: usize>(&mut self, gradient: &Tensor<D>) {
        let gradient = match gradient.is_autodiff() {
            true => gradient.clone().inner(),
            false => gradient.clone(),
        };
        let squares = match takes(&[facts(&gradient)]) {
            true => Scalar::Known(flex::optimizer::sum_of_squares(primitive(gradient))),
            false => Scalar::OnDevice(squares(&gradient)),
        };
        self.squares = match (std::mem::replace(&mut self.squares, Scalar::Known(0.0)), squares) {
            (Scalar::Known(sum), Scalar::Known(more)) => Scalar::Known(sum + more),
            (Scalar::OnDevice(sum), Scalar::OnDevice(more)) => Scalar::OnDevice(sum + more),
            (Scalar::OnDevice(sum), Scalar::Known(more)) | (Scalar::Known(more), Scalar::OnDevice(sum)) => {
                Scalar::OnDevice(sum.add_scalar(more))
            }
        };
    }

    /// The norm.
    pub fn value(&self) -> Scalar {
        match &self.squares {
            Scalar::Known(squares) => Scalar::Known(squares.sqrt()),
            Scalar::OnDevice(squares) => Scalar::OnDevice(squares.clone().sqrt().cast(DType::F32)),
        }
    }

    /// The norm as a number; waits for the device.
    pub fn read(&self) -> f64 {
        match self.value() {
            Scalar::Known(norm) => norm,
            Scalar::OnDevice(norm) => norm.into_scalar(),
        }
    }

    /// The factor that brings gradients of this norm down to `limit`, and leaves smaller ones as they are. On a device it is
    /// NaN where the norm is not finite.
    pub fn clip(&self, limit: Option<f64>) -> Scalar {
        match &self.squares {
            Scalar::Known(squares) => Scalar::Known(match (squares.sqrt(), limit) {
                (norm, Some(limit)) if norm > limit => limit / norm,
                _ => 1.0,
            }),
            Scalar::OnDevice(squares) => {
                let norm = squares.clone().sqrt();
                // 0 for a number, NaN for anything else.
                let finite = norm.clone() - norm.clone();
                let scale = match limit {
                    Some(limit) => norm.recip().mul_scalar(limit).clamp_max(1.0),
                    None => norm.ones_like(),
                };
                Scalar::OnDevice((scale + finite).cast(DType::F32))
            }
        }
    }
}

/// The sum of squares `[1]` on the device, in double precision where it has that.
fn squares<const D: usize>(gradient: &Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "cuda")]
    if crate::gpu::optimizer::serves_norm(gradient) {
        return crate::gpu::optimizer::squares(gradient.clone());
    }
    composed::squares(gradient)
}
