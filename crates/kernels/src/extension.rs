//! The operations as a burn backend extension: what flex does itself, and which tensors go there.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, DType, DispatchDevice, ExtensionType, Flex, backend_extension};
use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;

use crate::flex::activation::{self, Activation};
use crate::flex::attention::{Attention, Rules};
use crate::flex::embedding::Rows;
use crate::flex::linear;
use crate::flex::loss::{self, LinearCrossEntropy, Targets, Wanted};
use crate::flex::norm::{self, Norm};
use crate::flex::storage::{dense, width};
use crate::flex::tokens;
use crate::packed::PackedWeight;
use crate::products::Products;
use crate::setting::{Setting, setting};

/// An argument that may be left out, in the form that burn passes through its dispatch.
#[derive(ExtensionType)]
pub(crate) enum Maybe<B: Backend> {
    /// It is there.
    Given(FloatTensor<B>),
    /// It is not.
    Absent,
}

impl<B: Backend> Maybe<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

/// The same, before dispatch.
pub(crate) fn maybe<const D: usize>(x: Option<Tensor<D>>) -> Maybe<burn::backend::Dispatch> {
    x.map_or(Maybe::Absent, |x| Maybe::Given(x.into_dispatch()))
}

/// Operations with a kernel of their own. Arguments were checked at the boundary of the crate.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Kernels: Backend {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        products: Products,
    ) -> FloatTensor<Self>;

    /// Weight and bias are constants.
    fn packed_linear(
        x: FloatTensor<Self>,
        weight: PackedWeight,
        #[extension_type] bias: Maybe<Self>,
    ) -> FloatTensor<Self>;

    fn embedding(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;

    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;

    fn silu_gate(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    fn softmax(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Layer norm of `x` or, with a residual, of `x + residual`.
    fn layer_norm(
        x: FloatTensor<Self>,
        #[extension_type] residual: Maybe<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self>;

    /// The bias is a constant.
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        rules: Rules,
    ) -> FloatTensor<Self>;

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        label_smoothing: f64,
    ) -> FloatTensor<Self>;

    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        targets: IntTensor<Self>,
        label_smoothing: f64,
        products: Products,
    ) -> FloatTensor<Self>;

    fn split_tokens(x: FloatTensor<Self>, count: usize) -> (FloatTensor<Self>, FloatTensor<Self>);

    fn join_tokens(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        products: Products,
    ) -> FloatTensor<Self> {
        linear::linear(&dense(x), &weight, bias.into_option().as_ref(), products)
    }

    fn packed_linear(x: FloatTensor<Self>, weight: PackedWeight, bias: Maybe<Self>) -> FloatTensor<Self> {
        linear::packed_linear(&dense(x), weight.weight(), bias.into_option().map(dense).as_ref())
    }

    fn embedding(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        Rows::new(ids, weight.layout().shape()[0]).of(&dense(weight))
    }

    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        activation::activate(x, activation)
    }

    fn silu_gate(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        activation::silu_gate(gate, up)
    }

    fn softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        activation::softmax(x)
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        residual: Maybe<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let x = match residual {
            Maybe::Given(residual) => norm::add(x, residual),
            Maybe::Absent => x,
        };
        norm::normalise(x, Norm::Layer, &dense(weight), Some(&dense(bias)), epsilon)
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        norm::normalise(x, Norm::RootMeanSquare, &dense(weight), None, epsilon)
    }

    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: Maybe<Self>,
        rules: Rules,
    ) -> FloatTensor<Self> {
        Attention::new(query, key, value, bias.into_option(), rules).forward()
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        label_smoothing: f64,
    ) -> FloatTensor<Self> {
        let logits = dense(logits);
        let targets = Targets::new(targets, width(&logits), label_smoothing);
        loss::cross_entropy(&logits, &targets)
    }

    fn linear_cross_entropy(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        targets: IntTensor<Self>,
        label_smoothing: f64,
        products: Products,
    ) -> FloatTensor<Self> {
        let (hidden, weight, bias) = (dense(hidden), dense(weight), bias.into_option().map(dense));
        let targets = &Targets::new(targets, weight.layout().shape()[0], label_smoothing);
        let arguments = LinearCrossEntropy {
            hidden: &hidden,
            weight: &weight,
            bias: bias.as_ref(),
            targets,
            products,
        };
        arguments.run(Wanted::default()).0
    }

    fn split_tokens(x: FloatTensor<Self>, count: usize) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let x = dense(x);
        let [_, tokens, _] = tokens::sizes(&x);
        (tokens::part(&x, 0..count), tokens::part(&x, count..tokens))
    }

    fn join_tokens(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self> {
        tokens::join(&dense(first), &dense(second))
    }
}

/// Whether the kernels take these tensors: all in single precision on flex, and not switched off by
/// `BLIP2_KERNELS=composed` in the environment.
pub(crate) fn takes(tensors: &[(DType, Device)]) -> bool {
    setting() != Setting::Composed
        && tensors
            .iter()
            .all(|(dtype, device)| *dtype == DType::F32 && is_flex(device))
}

/// What [`takes`] wants to know about a tensor.
pub(crate) fn facts<const D: usize>(x: &Tensor<D>) -> (DType, Device) {
    (x.dtype(), x.device())
}

/// A plain tensor that the kernels take.
pub(crate) fn primitive<const D: usize>(x: Tensor<D>) -> FlexTensor {
    x.try_into_primitive::<Flex>()
        .expect("kernels take plain tensors on flex")
}

pub(crate) fn is_flex(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Autodiff(device) => matches!(device.clone().inner(), DispatchDevice::Flex(_)),
        #[allow(
            unreachable_patterns,
            reason = "there are more devices when burn is built for more backends"
        )]
        _ => false,
    }
}
