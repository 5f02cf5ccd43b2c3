//! Layer norm on NVIDIA's GPUs: a graph keeps its argument, and the backward pass takes mean and deviation again.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::cuda;
use super::cuda::operations::OnCuda;
use super::{Kept, Place, like, node, off, primitive, tracked};

/// Whether there are kernels for `x` `[.., width]`.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>, bias: &Tensor<1>) -> bool {
    let learned = weight.is_tracked() || bias.is_tracked();
    super::takes(x) && cuda::layer_norm::serves(&off(x), [weight, bias], learned)
}

pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    let devices = [x.device(), weight.device(), bias.device()];
    let learned = weight.is_tracked() || bias.is_tracked();
    let tracks = learned || x.is_tracked();
    let [of_weight, of_bias] = [&weight, &bias].map(off);
    let given = off(&x);
    let [given_weight, given_bias] = [of_weight.clone(), of_bias].map(Tensor::into_dispatch);
    let normal = Dispatch::normalised(given.clone().into_dispatch(), given_weight, given_bias, epsilon);
    let normal = Tensor::<D>::from_dispatch(normal);
    if !tracks {
        return like(normal, devices.each_ref());
    }
    let kept = LayerNorm {
        x: given,
        weight: of_weight,
        epsilon,
    };
    let x = tracked(x).into_parts().1;
    match learned {
        true => {
            let [weight, bias] = [weight, bias].map(|parameter| tracked(parameter).into_parts().1);
            node([x, weight, bias], kept, normal)
        }
        false => node([x], kept, normal),
    }
}

/// All of it off the graph.
#[derive(Clone, Debug)]
struct LayerNorm<const D: usize> {
    x: Tensor<D>,
    weight: Tensor<1>,
    epsilon: f64,
}

impl<const D: usize> Kept<1> for LayerNorm<D> {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 1] {
        let gradient = Tensor::<D>::from_primitive::<Place>(gradient).into_dispatch();
        let (x, weight) = (self.x.into_dispatch(), self.weight.into_dispatch());
        let of_x = Dispatch::normalised_backward_of_x(x, weight, gradient, self.epsilon);
        [Some(primitive(Tensor::<D>::from_dispatch(of_x)))]
    }
}

impl<const D: usize> Kept<3> for LayerNorm<D> {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        let gradient = Tensor::<D>::from_primitive::<Place>(gradient).into_dispatch();
        let dtype = self.weight.dtype();
        let (x, weight) = (self.x.into_dispatch(), self.weight.into_dispatch());
        let (of_x, of_weight, of_bias) = Dispatch::normalised_backward(x, weight, gradient, self.epsilon);
        let of_parameter = |gradient| primitive(Tensor::<1>::from_dispatch(gradient).cast(dtype));
        let of_x = primitive(Tensor::<D>::from_dispatch(of_x));
        [
            Some(of_x),
            Some(of_parameter(of_weight)),
            Some(of_parameter(of_bias)),
        ]
    }
}
