//! Operations on GPUs that burn does not differentiate well: each is one node of the graph that keeps its arguments and makes what
//! else its backward pass needs again, a piece at a time. What the pieces do is said in burn's tensor operations, which compile for
//! every GPU. Tests run them over burn's backend for the CPU as well, where no GPU is built in.

#[cfg(feature = "cuda")]
pub(crate) mod activation;
pub(crate) mod attention;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(feature = "cuda")]
pub(crate) mod cuda_attention;
#[cfg(feature = "cuda")]
pub(crate) mod cuda_linear;
pub(crate) mod linear;
pub(crate) mod loss;
#[cfg(feature = "cuda")]
pub(crate) mod norm;
#[cfg(feature = "cuda")]
pub(crate) mod optimizer;
pub(crate) mod packed;
pub(crate) mod products;
#[cfg(feature = "cuda")]
pub(crate) mod rounded_weights;
#[cfg(feature = "cuda")]
pub(crate) mod slots;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::marker::PhantomData;

#[cfg(feature = "gpu")]
use burn::backend::Cube as Place;
#[cfg(not(feature = "gpu"))]
use burn::backend::Flex as Place;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};
use burn::tensor::{Device, Tensor};

/// A tensor in the graph.
type Tracked = FloatTensor<Autodiff<Place>>;

/// Whether these operations are for a device: for GPUs in a program for NVIDIA's, for others where `BLIP2_KERNELS=gpu` in the
/// environment asks for it, and for none where that says `composed`.
#[cfg(feature = "gpu")]
pub(crate) fn serves(device: &Device) -> bool {
    use burn::backend::DispatchDevice;

    use crate::setting::{Setting, setting};

    let asked = match setting() {
        Setting::Gpu => true,
        Setting::Composed => false,
        _ => cfg!(feature = "cuda"),
    };
    asked && matches!(device.clone().inner().as_dispatch(), DispatchDevice::Cube(_))
}

/// Whether these operations take a tensor: also not where its device keeps checkpoints of its own.
#[cfg(feature = "gpu")]
pub(crate) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    use burn::tensor::GradientCheckpointingStrategy;

    let strategy = x.gradient_checkpointing_strategy();
    serves(&x.device()) && strategy.is_none_or(|strategy| strategy == GradientCheckpointingStrategy::Disabled)
}

/// A tensor off the graph.
fn plain<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.inner()
}

/// `x` off the graph, if it is on one.
#[cfg(feature = "cuda")]
fn off<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    match x.is_autodiff() {
        true => plain(x.clone()),
        false => x.clone(),
    }
}

/// `x` for the graph: what is not tracked counts as a constant.
fn tracked<const D: usize>(x: Tensor<D>) -> Tracked {
    match x.is_tracked() {
        true => x
            .try_into_primitive::<Autodiff<Place>>()
            .expect("a tracked tensor on a GPU, without checkpoints"),
        false => Autodiff::<Place>::from_inner(primitive(plain(x))),
    }
}

/// A plain tensor as the backend has it.
fn primitive<const D: usize>(x: Tensor<D>) -> FloatTensor<Place> {
    x.try_into_primitive::<Place>().expect("a plain tensor on a GPU")
}

/// What a node keeps, and what it makes of the gradient of its result: those of its parents, of which some are constants.
trait Kept<const PARENTS: usize>: Clone + Debug + Send + 'static {
    fn backward(self, gradient: FloatTensor<Place>) -> [Option<FloatTensor<Place>>; PARENTS];
}

/// Joins the graph: `result` is what `kept` was made together with.
fn node<State: Kept<PARENTS>, const PARENTS: usize, const D: usize>(
    parents: [NodeGuard; PARENTS],
    kept: State,
    result: Tensor<D>,
) -> Tensor<D> {
    #[derive(Debug)]
    struct Node<State>(PhantomData<fn() -> State>);

    impl<State: Kept<PARENTS>, const PARENTS: usize> Backward<Place, PARENTS> for Node<State> {
        type State = State;

        fn backward(self, ops: Ops<State, PARENTS>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Place>(&ops.node);
            let gradients = ops.state.backward(gradient);
            for (node, gradient) in ops.parents.into_iter().zip(gradients) {
                if let (Some(node), Some(gradient)) = (node, gradient) {
                    grads.register::<Place>(node.id, gradient);
                }
            }
        }
    }

    let result = primitive(result);
    let result = match Node(PhantomData::<fn() -> State>)
        .prepare::<NoCheckpointing>(parents)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(kept, result),
        OpsKind::UnTracked(prep) => prep.finish(result),
    };
    Tensor::from_primitive::<Autodiff<Place>>(result)
}

/// `result` with autodiff, if one of its `arguments` has it.
fn like<const D: usize, const ARGUMENTS: usize>(
    result: Tensor<D>,
    arguments: [&Device; ARGUMENTS],
) -> Tensor<D> {
    match arguments.iter().any(|device| device.is_autodiff()) {
        true => Tensor::from_inner(result),
        false => result,
    }
}
