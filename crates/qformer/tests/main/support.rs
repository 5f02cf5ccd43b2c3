//! The model that the tests of this crate look at, and how its results are compared.

use blip2_core::Initializer;
use blip2_qformer::RepresentationModel;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};

use crate::tiny;

/// Biases and scales at random like everything else, so that none can be mistaken for another.
pub(crate) fn model() -> RepresentationModel {
    struct Shaken(Initializer);
    impl ModuleMapper for Shaken {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let noise = self.0.normal(parameter.lazy_shape().dims::<D>(), 0.2).val();
            parameter.map(|value| value + noise)
        }
    }
    tiny::model(&tiny::config(), &Device::flex()).map(&mut Shaken(Initializer::new(3, &Device::flex())))
}

/// The text states of row `index` without its padding.
pub(crate) fn real_rows(states: &Tensor<3>, index: usize, length: usize) -> Tensor<2> {
    let width = states.dims()[2];
    states
        .clone()
        .slice([index..index + 1, 0..length, 0..width])
        .reshape([length, width])
}

/// Row `index` of a batch.
pub(crate) fn row(states: &Tensor<3>, index: usize) -> Tensor<2> {
    real_rows(states, index, states.dims()[1])
}

pub(crate) fn difference<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> f32 {
    assert_eq!(left.dims(), right.dims());
    (left - right).abs().max().into_scalar()
}

pub(crate) fn assert_close<const D: usize>(what: &str, left: Tensor<D>, right: Tensor<D>) {
    let difference = difference(left, right);
    assert!(difference < 1e-5, "{what}: {difference} apart");
}
