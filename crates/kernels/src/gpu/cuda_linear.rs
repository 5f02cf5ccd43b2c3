//! The linear layer on NVIDIA's GPUs, of tensors in single precision that are multiplied in 16 bits: one operation each way, rounding and
//! sums with the products.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};

use super::cuda::linear::serves as has_kernels;
use super::cuda::operations::OnCuda;
use super::products::operands;
use super::{Kept, Place, node, off, plain, primitive, tracked};
use crate::products::Products;

/// Whether this is for `x` `[rows, inputs]`, of which a gradient is `wanted`, and `weight` `[outputs, inputs]`.
pub(crate) fn serves(x: &Tensor<2>, weight: &Tensor<2>, wanted: [bool; 2], products: Products) -> bool {
    let [of_x, of_weight] = wanted;
    if !of_x {
        return false;
    }
    let [x, weight] = [x, weight].map(off);
    has_kernels(&x, &weight, operands(&x, products)) && (!of_weight || weight.dtype() == DType::F32)
}

/// As [`crate::linear`]; a gradient of `x` is wanted.
pub(crate) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    products: Products,
) -> Tensor<2> {
    let learned = weight.is_tracked() || bias.as_ref().is_some_and(Tensor::is_tracked);
    let (given, of_weight) = (plain(x.clone()), off(&weight));
    let operands = operands(&given, products);
    let (given, weight_given) = (given.into_dispatch(), of_weight.clone().into_dispatch());
    let of_bias = bias
        .as_ref()
        .map(|bias| off(bias).cast(DType::F32).into_dispatch());
    let (y, rounded) = match of_bias {
        Some(bias) => Dispatch::linear_with_bias(given, weight_given, bias, operands),
        None => Dispatch::linear_alone(given, weight_given, operands),
    };
    let y = Tensor::<2>::from_dispatch(y);
    let x = tracked(x).into_parts().1;
    if !learned {
        let kept = Frozen {
            weight: of_weight,
            operands,
        };
        return node([x], kept, y);
    }
    let kept = Learned {
        x: Tensor::from_dispatch(rounded),
        weight: of_weight,
    };
    let weight = tracked(weight).into_parts().1;
    match bias {
        Some(bias) => node([x, weight, tracked(bias).into_parts().1], kept, y),
        None => node([x, weight], kept, y),
    }
}

/// A layer that is not learned: its weight, off the graph.
#[derive(Clone, Debug)]
struct Frozen {
    weight: Tensor<2>,
    operands: DType,
}

impl Kept<1> for Frozen {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 1] {
        let gradient = Tensor::<2>::from_primitive::<Place>(gradient).into_dispatch();
        let of_x = Dispatch::linear_backward_of_x(gradient, self.weight.into_dispatch(), self.operands);
        [Some(primitive(Tensor::<2>::from_dispatch(of_x)))]
    }
}

/// A layer that is: all of it off the graph.
#[derive(Clone, Debug)]
struct Learned {
    /// As it was multiplied.
    x: Tensor<2>,
    weight: Tensor<2>,
}

impl Learned {
    fn gradients(self, gradient: FloatTensor<Place>) -> [FloatTensor<Place>; 3] {
        let gradient = Tensor::<2>::from_primitive::<Place>(gradient).into_dispatch();
        let (x, weight) = (self.x.into_dispatch(), self.weight.into_dispatch());
        let (of_x, of_weight, of_bias) = Dispatch::linear_backward(gradient, x, weight);
        [
            primitive(Tensor::<2>::from_dispatch(of_x)),
            primitive(Tensor::<2>::from_dispatch(of_weight)),
            primitive(Tensor::<1>::from_dispatch(of_bias)),
        ]
    }
}

impl Kept<2> for Learned {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 2] {
        let [of_x, of_weight, _] = self.gradients(gradient);
        [Some(of_x), Some(of_weight)]
    }
}

impl Kept<3> for Learned {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        self.gradients(gradient).map(Some)
    }
}
