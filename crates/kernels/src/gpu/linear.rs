//! The linear layer: a graph keeps its operands as they were multiplied, and multiplies them again in the backward pass.

use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Tensor};

use super::products::{operands, product};
use super::{Kept, Place, like, node, plain, primitive, tracked};
use crate::products::Products;

pub(crate) fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    products: Products,
) -> Tensor<D> {
    #[cfg(feature = "cuda")]
    if super::cuda_linear::serves(&x, &weight, bias.as_ref(), products) {
        return super::cuda_linear::linear(x, weight, bias, products);
    }
    let [outputs, inputs] = weight.dims();
    let mut shape = x.dims();
    let rows = shape[..D - 1].iter().product();
    shape[D - 1] = outputs;
    of_rows(x.reshape([rows, inputs]), weight, bias, products).reshape(shape)
}

fn of_rows(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>, products: Products) -> Tensor<2> {
    let wanted = [x.is_tracked(), weight.is_tracked()];
    let tracks = wanted.contains(&true) || bias.as_ref().is_some_and(Tensor::is_tracked);
    let devices = [x.device(), weight.device()];
    let dtype = x.dtype();
    let rounded = plain(x.clone()).cast(operands(&x, products));
    let kept = Linear {
        x: rounded,
        weight: plain(weight.clone()),
        wanted,
        products,
    };
    let y = kept.forward(bias.clone().map(plain), dtype);
    if !tracks {
        return like(y, devices.each_ref());
    }
    let (x, weight) = (tracked(x).into_parts().1, tracked(weight).into_parts().1);
    match bias {
        Some(bias) => node([x, weight, tracked(bias).into_parts().1], kept, y),
        None => node([x, weight], kept, y),
    }
}

/// Whether [`add_linear`] takes these: on one of NVIDIA's GPUs, without a gradient.
#[cfg(feature = "cuda")]
pub(crate) fn adds<const D: usize>(tensors: [&Tensor<D>; 2], weight: &Tensor<2>, bias: &Tensor<1>) -> bool {
    let learns = tensors.iter().any(|x| x.is_autodiff()) || weight.is_autodiff() || bias.is_autodiff();
    let [residual, x] = tensors;
    let [outputs, _] = weight.dims();
    !learns
        && residual.dims()[..D - 1] == x.dims()[..D - 1]
        && residual.dims()[D - 1] == outputs
        && super::cuda::on_cuda(x)
}

/// As [`crate::add_linear`].
#[cfg(feature = "cuda")]
pub(crate) fn add_linear<const D: usize>(
    residual: Tensor<D>,
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    products: Products,
) -> Tensor<D> {
    let ([outputs, inputs], shape) = (weight.dims(), residual.dims());
    let rows = shape[..D - 1].iter().product();
    let (x, residual) = (x.reshape([rows, inputs]), residual.reshape([rows, outputs]));
    super::products::added(x, weight.transpose(), bias, residual, products).reshape(shape)
}

/// All of it off the graph.
#[derive(Clone, Debug)]
struct Linear {
    /// As it was multiplied.
    x: Tensor<2>,
    weight: Tensor<2>,
    /// Whether the gradients of these two are asked for.
    wanted: [bool; 2],
    products: Products,
}

impl Linear {
    fn forward(&self, bias: Option<Tensor<1>>, dtype: DType) -> Tensor<2> {
        let weight = self.weight.clone().transpose();
        product(self.x.clone(), weight, bias, self.products, dtype)
    }

    fn gradients(self, gradient: &Tensor<2>) -> [Option<FloatTensor<Place>>; 2] {
        let (dtype, [of_x, of_weight]) = (gradient.dtype(), self.wanted);
        let rounded = gradient.clone().cast(operands(gradient, self.products));
        let of_x = of_x.then(|| product(rounded.clone(), self.weight.clone(), None, self.products, dtype));
        let of_weight = of_weight.then(|| {
            product(
                rounded.transpose(),
                self.x,
                None,
                self.products,
                self.weight.dtype(),
            )
        });
        [of_x, of_weight].map(|x| x.map(primitive))
    }
}

impl Kept<2> for Linear {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 2] {
        self.gradients(&Tensor::from_primitive::<Place>(gradient))
    }
}

impl Kept<3> for Linear {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 3] {
        let gradient = Tensor::<2>::from_primitive::<Place>(gradient);
        let [of_x, of_weight] = self.gradients(&gradient);
        let of_bias = primitive(gradient.sum_dim(0).squeeze_dim::<1>(0));
        [of_x, of_weight, Some(of_bias)]
    }
}
