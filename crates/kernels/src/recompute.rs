//! Recomputation of blocks, also called activation or gradient checkpointing (Chen et al., 2016): of a block, arguments and
//! results alone are kept, and the backward pass computes the rest again.

use std::collections::VecDeque;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, DispatchTensor, Tensor};
use burn_flex::FlexTensor;

use crate::draws::{giving, keeping};
use crate::extension::{is_flex, primitive};
use crate::gradient::recompute::{Again, Leaf, Learned, Tracked, backward, recomputed};
use crate::products::{products, with_products};

/// Tensors of any ranks, one behind the other: what a block reads, or gives.
#[derive(Clone, Debug, Default)]
pub struct Tensors(VecDeque<DispatchTensor>);

impl Tensors {
    /// These and `x` behind them.
    pub fn with<const D: usize>(mut self, x: Tensor<D>) -> Self {
        self.0.push_back(x.into_dispatch());
        self
    }

    /// The first of them, which is then gone.
    ///
    /// # Panics
    /// Where there is none left, or it is of another rank when it is used.
    pub fn take<const D: usize>(&mut self) -> Tensor<D> {
        let first = self.0.pop_front();
        Tensor::from_dispatch(first.expect("take: a block is given as many tensors as it takes"))
    }
}

/// What `block` makes of `module` and `arguments`, which must not read anything else that is learned. Values and gradients are those
/// of a plain call, to the bit, and so are the masks that [`random_mask`](crate::random_mask) draws. Only the gradient of a parameter or
/// an argument that others read as well may be added up in another order.
///
/// Where no argument has a gradient, and on devices other than the processor, it is a plain call.
///
/// # Panics
/// In the backward pass, where `block` then reads tensors on an autodiff device that were not among its arguments.
pub fn recompute<M: Module + 'static>(
    module: &M,
    arguments: Tensors,
    block: impl Fn(&M, Tensors) -> Tensors + Send + 'static,
) -> Tensors {
    let in_graph: Vec<Option<Tracked>> = arguments.0.iter().map(tracked).collect();
    let elsewhere = arguments.0.iter().zip(&in_graph);
    let elsewhere = elsewhere.filter(|(argument, known)| known.is_none() && any_rank(argument).is_tracked());
    if elsewhere.count() > 0 || in_graph.iter().all(Option::is_none) {
        return block(module, arguments);
    }
    let plain: Vec<FlexTensor> = arguments.0.into_iter().map(plain).collect();
    let off_the_tape = module.clone().map(&mut OffTheTape);
    let (results, masks) = keeping(|| block(&off_the_tape, constants(plain.clone())));
    let results = results.0.into_iter().map(self::plain).collect();

    let is_tracked: Vec<bool> = in_graph.iter().map(Option::is_some).collect();
    let (module, products) = (module.clone(), products());
    let again: Again = Box::new(move |gradients| {
        let mut parameters = Leaves::default();
        let module = module.map(&mut parameters);
        let leaf = |(x, is_tracked): (&FlexTensor, bool)| is_tracked.then(|| Leaf::new(x.clone()));
        let leaves: Vec<Option<Leaf>> = plain.iter().zip(is_tracked).map(leaf).collect();
        let arguments = plain.into_iter().zip(&leaves).map(|(constant, leaf)| match leaf {
            Some(leaf) => in_dispatch(leaf.tracked()),
            None => constant_in_dispatch(constant),
        });
        let arguments = Tensors(arguments.collect());
        let results = with_products(products, || giving(masks, || block(&module, arguments)));
        let mut gradients = backward(results.0.iter().map(tracked).zip(gradients));
        let mut of_argument = |leaf: Leaf| {
            let gradient = leaf.gradient(gradients.as_mut());
            gradient.unwrap_or_else(|| leaf.zeros())
        };
        let leaves = leaves.into_iter();
        Learned {
            arguments: leaves.map(|leaf| leaf.map(&mut of_argument)).collect(),
            parameters: parameters.gradients(gradients.as_mut()),
        }
    });
    let results = recomputed(in_graph, results, again);
    Tensors(results.into_iter().map(in_dispatch).collect())
}

/// Whether blocks are computed again on `device`: on the processor.
pub fn recomputes_on(device: &Device) -> bool {
    is_flex(device)
}

/// Parameters without their graph.
struct OffTheTape;

impl ModuleMapper for OffTheTape {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(Tensor::inner)
    }
}

/// Parameters that are learned as leaves of a new graph, with their nodes in the old one.
#[derive(Default)]
struct Leaves(Vec<(NodeId, Leaf)>);

impl Leaves {
    fn gradients(self, mut gradients: Option<&mut Gradients>) -> Vec<(NodeId, FlexTensor)> {
        let known = self.0.into_iter();
        known
            .filter_map(|(node, leaf)| Some((node, leaf.gradient(gradients.as_deref_mut())?)))
            .collect()
    }
}

impl ModuleMapper for Leaves {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|value| {
            let Some(known) = tracked(&value.clone().into_dispatch()) else {
                return value;
            };
            let leaf = Leaf::new(known.primitive().clone());
            let value = Tensor::from_dispatch(in_dispatch(leaf.tracked()));
            self.0.push((known.id(), leaf));
            value
        })
    }
}

/// A tensor whose rank nobody asks for.
fn any_rank(x: &DispatchTensor) -> Tensor<1> {
    Tensor::from_dispatch(x.clone())
}

/// `x` as it is in the graph, where it has a gradient.
fn tracked(x: &DispatchTensor) -> Option<Tracked> {
    let x = any_rank(x).try_into_primitive::<Autodiff<Flex>>();
    x.ok().filter(Tracked::is_tracked)
}

fn plain(x: DispatchTensor) -> FlexTensor {
    primitive(any_rank(&x).inner())
}

fn constants(plain: Vec<FlexTensor>) -> Tensors {
    Tensors(plain.into_iter().map(constant_in_dispatch).collect())
}

fn constant_in_dispatch(x: FlexTensor) -> DispatchTensor {
    Tensor::<1>::from_primitive::<Flex>(x).into_dispatch()
}

fn in_dispatch(x: Tracked) -> DispatchTensor {
    Tensor::<1>::from_primitive::<Autodiff<Flex>>(x).into_dispatch()
}
