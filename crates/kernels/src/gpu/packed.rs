//! The linear layer with a packed weight: a graph keeps it packed, and unpacks it once more for the backward pass.

use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

use super::products::{operands, product};
use super::{Kept, Place, like, node, plain, primitive, tracked};
use crate::packed::PackedWeight;
use crate::products::Products;

pub(crate) fn packed_linear<const D: usize>(
    x: Tensor<D>,
    weight: &PackedWeight,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let [outputs, inputs] = weight.dims();
    let mut shape = x.dims();
    let rows = shape[..D - 1].iter().product();
    shape[D - 1] = outputs;
    of_rows(x.reshape([rows, inputs]), weight, bias).reshape(shape)
}

fn of_rows(x: Tensor<2>, weight: &PackedWeight, bias: Option<Tensor<1>>) -> Tensor<2> {
    let (tracks, device) = (x.is_tracked(), x.device());
    let unpacked = weight.unpacked_on(&device.clone().inner(), operands(&x, Products::Bf16));
    let (unpacked, bias) = (unpacked.transpose(), bias.map(plain));
    let y = product(plain(x.clone()), unpacked, bias, Products::Bf16, x.dtype());
    match tracks {
        true => node([tracked(x).into_parts().1], Packed(weight.clone()), y),
        false => like(y, [&device]),
    }
}

#[derive(Clone, Debug)]
struct Packed(PackedWeight);

impl Kept<1> for Packed {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; 1] {
        let gradient = Tensor::<2>::from_primitive::<Place>(gradient);
        let operands = operands(&gradient, Products::Bf16);
        let weight = self.0.unpacked_on(&gradient.device(), operands);
        let dtype = gradient.dtype();
        [Some(primitive(product(
            gradient,
            weight,
            None,
            Products::Bf16,
            dtype,
        )))]
    }
}
