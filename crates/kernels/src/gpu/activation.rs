//! GELU on NVIDIA's GPUs: a graph keeps its argument.

use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::cuda;
use super::cuda::operations::OnCuda;
use super::{Kept, Place, like, node, off, primitive, tracked};

/// Whether there are kernels for `x`.
pub(crate) fn serves<const D: usize>(x: &Tensor<D>) -> bool {
    super::takes(x) && cuda::element_wise::serves(&off(x))
}

pub(crate) fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let (tracks, device) = (x.is_tracked(), x.device());
    let kept = Gelu(off(&x));
    let result = Tensor::<D>::from_dispatch(Dispatch::gelu_of(kept.0.clone().into_dispatch()));
    match tracks {
        true => node([tracked(x).into_parts().1], kept, result),
        false => like(result, [&device]),
    }
}

/// The argument, off the graph.
#[derive(Clone, Debug)]
struct Gelu<const D: usize>(Tensor<D>);

impl<const D: usize> Kept<1> for Gelu<D> {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 1] {
        let gradient = Tensor::<D>::from_primitive::<Place>(gradient).into_dispatch();
        let of_x = Dispatch::gelu_of_backward(self.0.into_dispatch(), gradient);
        [Some(primitive(Tensor::<D>::from_dispatch(of_x)))]
    }
}
