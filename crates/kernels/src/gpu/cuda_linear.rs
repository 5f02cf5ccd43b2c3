//! The linear layer on NVIDIA's GPUs where it is multiplied in 16 bits: one operation each way, rounding and sums with the products.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};

use super::cuda::linear::serves as has_kernels;
use super::cuda::operations::OnCuda;
use super::products::operands;
use super::rounded_weights::rounded;
use super::{Kept, Place, like, node, off, primitive, tracked};
use crate::products::Products;

/// Whether this is for `x` `[.., inputs]` and `weight` `[outputs, inputs]`: not where the weight is learned and `x` is not, which would be
/// given a gradient all the same.
pub(crate) fn serves<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    products: Products,
) -> bool {
    let of_x = x.is_tracked();
    let of_weight = weight.is_tracked() || bias.is_some_and(Tensor::is_tracked);
    let (given, given_weight) = (off(x), off(weight));
    let single = given.dtype() == DType::F32 && given_weight.dtype() == DType::F32;
    (of_x && single || !of_weight) && has_kernels(&given, &given_weight, operands(&given, products))
}

/// As [`crate::linear`].
pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    products: Products,
) -> Tensor<D> {
    let bias_learned = bias.as_ref().is_some_and(Tensor::is_tracked);
    let devices = [x.device(), weight.device()];
    let given = off(&x);
    let operands = operands(&given, products);
    // A frozen weight is not kept twice. Outside of a scope nothing says when a rounded one would be forgotten.
    let of_weight = match products {
        Products::Bf16 if weight.is_tracked() => rounded(off(&weight), operands),
        Products::F32 | Products::Bf16 => off(&weight),
    };
    let of_bias = bias
        .as_ref()
        .map(|bias| off(bias).cast(given.dtype()).into_dispatch());
    let (given, given_weight) = (given.into_dispatch(), of_weight.clone().into_dispatch());
    let (y, rounded) = match of_bias {
        Some(bias) => Dispatch::linear_with_bias(given, given_weight, bias, operands),
        None => Dispatch::linear_alone(given, given_weight, operands),
    };
    let y = Tensor::<D>::from_dispatch(y);
    if !weight.is_tracked() && !bias_learned {
        let kept = Frozen::<D> {
            weight: of_weight,
            operands,
        };
        return match x.is_tracked() {
            true => node([tracked(x).into_parts().1], kept, y),
            false => like(y, devices.each_ref()),
        };
    }
    let kept = Learned::<D> {
        x: Tensor::from_dispatch(rounded),
        weight: of_weight,
    };
    let (x, weight) = (tracked(x).into_parts().1, tracked(weight).into_parts().1);
    match bias {
        Some(bias) => node([x, weight, tracked(bias).into_parts().1], kept, y),
        None => node([x, weight], kept, y),
    }
}

/// A layer that is not learned: its weight, off the graph.
#[derive(Clone, Debug)]
struct Frozen<const D: usize> {
    weight: Tensor<2>,
    operands: DType,
}

impl<const D: usize> Kept<1> for Frozen<D> {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 1] {
        let gradient = Tensor::<D>::from_primitive::<Place>(gradient).into_dispatch();
        let of_x = Dispatch::linear_backward_of_x(gradient, self.weight.into_dispatch(), self.operands);
        [Some(primitive(Tensor::<D>::from_dispatch(of_x)))]
    }
}

/// A layer that is: all of it off the graph.
#[derive(Clone, Debug)]
struct Learned<const D: usize> {
    /// As it was multiplied, `[rows, inputs]`.
    x: Tensor<2>,
    weight: Tensor<2>,
}

impl<const D: usize> Learned<D> {
    fn gradients(self, gradient: FloatTensor<Place>) -> [FloatTensor<Place>; 3] {
        let gradient = Tensor::<D>::from_primitive::<Place>(gradient).into_dispatch();
        let (x, weight) = (self.x.into_dispatch(), self.weight.into_dispatch());
        let (of_x, of_weight, of_bias) = Dispatch::linear_backward(gradient, x, weight);
        [
            primitive(Tensor::<D>::from_dispatch(of_x)),
            primitive(Tensor::<2>::from_dispatch(of_weight)),
            primitive(Tensor::<1>::from_dispatch(of_bias)),
        ]
    }
}

impl<const D: usize> Kept<2> for Learned<D> {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 2] {
        let [of_x, of_weight, _] = self.gradients(gradient);
        [Some(of_x), Some(of_weight)]
    }
}

impl<const D: usize> Kept<3> for Learned<D> {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        self.gradients(gradient).map(Some)
    }
}
