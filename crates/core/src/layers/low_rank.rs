//! What a frozen linear layer learns in a few dimensions (LoRA, Hu et al., 2021).

use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};

use crate::Initializer;

/// An update of a linear layer of low rank: `scale` times what `up` makes of what `down` makes of the input. The layer itself stays
/// as it is.
#[derive(Module, Debug)]
pub struct LowRank {
    /// `[rank, inputs]`.
    pub down: Param<Tensor<2>>,
    /// `[outputs, rank]`.
    pub up: Param<Tensor<2>>,
    #[module(skip)]
    scale: f64,
}

impl LowRank {
    /// One that changes nothing yet: `down` as PEFT draws it, uniform within `1/sqrt(inputs)`, `up` zero.
    pub fn new(
        initializer: &mut Initializer,
        inputs: usize,
        outputs: usize,
        rank: usize,
        scale: f64,
    ) -> Self {
        Self {
            down: initializer.uniform([rank, inputs], 1.0 / (inputs as f32).sqrt()),
            up: initializer.constant([outputs, rank], 0.0),
            scale,
        }
    }

    /// One of these values.
    pub fn from_values(down: Tensor<2>, up: Tensor<2>, scale: f64) -> Self {
        Self {
            down: Param::from_tensor(down),
            up: Param::from_tensor(up),
            scale,
        }
    }

    /// Width of the input, rank, width of the output.
    pub fn sizes(&self) -> [usize; 3] {
        let [rank, inputs] = self.down.lazy_shape().dims();
        let [outputs, _] = self.up.lazy_shape().dims();
        [inputs, rank, outputs]
    }

    /// What is added to the layer's output for `x` `[.., inputs]`: `[.., outputs]`, in the number format of `x`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let narrow = kernels::linear(x.cast(DType::F32), self.down.val(), None);
        (kernels::linear(narrow, self.up.val(), None) * self.scale).cast(dtype)
    }
}
