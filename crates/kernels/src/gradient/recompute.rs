//! Nodes of a block that the backward pass computes again.
//!
//! A node of burn's graph has a single result. So a block is a chain: a node for each argument, one for the block itself, and behind
//! it one for each result. On the way back the results leave their gradients for the block, and the block leaves those of its
//! arguments; what runs along the chain itself is only a sign that there is something.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

pub(crate) use super::Tracked;
use crate::flex::storage::tensor;

/// Computes a block again, in a graph of its own, and takes the gradients of its results, as far as they have any, back to all that
/// it read.
pub(crate) type Again = Box<dyn FnOnce(Vec<Option<FlexTensor>>) -> Learned + Send>;

/// Gradients of what a block read.
pub(crate) struct Learned {
    /// Of its arguments, as far as they are tracked.
    pub(crate) arguments: Vec<Option<FlexTensor>>,
    /// Of its parameters, by their nodes in the graph around it.
    pub(crate) parameters: Vec<(NodeId, FlexTensor)>,
}

/// The gradients that `results` have were they computed from, given their own; nothing where none of them has one.
pub(crate) fn backward(
    results: impl Iterator<Item = (Option<Tracked>, Option<FlexTensor>)>,
) -> Option<Gradients> {
    let seeded = results.filter_map(|(result, gradient)| Some((result?, gradient?)));
    let root = seeded.fold(None, |link, (result, gradient)| {
        Some(seed(link, result, gradient))
    });
    root.map(Tracked::backward)
}

/// A tensor that begins a graph.
pub(crate) struct Leaf(Tracked);

impl Leaf {
    pub(crate) fn new(x: FlexTensor) -> Self {
        Self(Tracked::new(x).require_grad())
    }

    pub(crate) fn tracked(&self) -> Tracked {
        self.0.clone()
    }

    pub(crate) fn gradient(&self, gradients: Option<&mut Gradients>) -> Option<FlexTensor> {
        self.0.grad_remove(gradients?)
    }

    pub(crate) fn zeros(&self) -> FlexTensor {
        let x = self.0.primitive();
        Flex::float_zeros(x.shape(), &x.device(), x.dtype().into())
    }
}

/// The `results` of a block in the graph of its `arguments`, as far as these are tracked: at least one.
pub(crate) fn recomputed(
    arguments: Vec<Option<Tracked>>,
    results: Vec<FlexTensor>,
    again: Again,
) -> Vec<Tracked> {
    let block = Block(Arc::new(Mutex::new(Waiting {
        again: Some(again),
        results: vec![None; results.len()],
        arguments: vec![None; arguments.len()],
    })));
    let mut link = None;
    for (index, argument) in arguments.into_iter().enumerate() {
        if let Some(argument) = argument {
            link = Some(read(link, argument, block.clone(), index));
        }
    }
    let link = middle(link.unwrap_or_else(nothing), block.clone());
    let results = results.into_iter().enumerate();
    results
        .map(|(index, result)| given(&link, result, block.clone(), index))
        .collect()
}

/// What a block has while it waits for the backward pass, and what passes through it then.
struct Waiting {
    again: Option<Again>,
    results: Vec<Option<FlexTensor>>,
    arguments: Vec<Option<FlexTensor>>,
}

#[derive(Clone)]
struct Block(Arc<Mutex<Waiting>>);

impl Block {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Block")
    }
}

fn sign() -> FlexTensor {
    tensor(vec![0.0], [1])
}

fn nothing() -> Tracked {
    Tracked::new(sign())
}

/// The node of an argument.
fn read(link: Option<Tracked>, argument: Tracked, block: Block, index: usize) -> Tracked {
    #[derive(Debug)]
    struct Read;

    impl Backward<Flex, 2> for Read {
        type State = (Block, usize);

        fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let sign = grads.consume::<Flex>(&ops.node);
            let (block, index) = ops.state;
            let [link, argument] = ops.parents;
            if let (Some(argument), Some(gradient)) = (argument, block.lock().arguments[index].take()) {
                grads.register::<Flex>(argument.id, gradient);
            }
            if let Some(link) = link {
                grads.register::<Flex>(link.id, sign);
            }
        }
    }

    let link = link.unwrap_or_else(nothing);
    match Read
        .prepare::<NoCheckpointing>([link.node(), argument.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish((block, index), sign()),
        OpsKind::UnTracked(prep) => prep.finish(sign()),
    }
}

/// The node of the block itself.
fn middle(link: Tracked, block: Block) -> Tracked {
    #[derive(Debug)]
    struct Middle;

    impl Backward<Flex, 1> for Middle {
        type State = Block;

        fn backward(self, ops: Ops<Block, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let sign = grads.consume::<Flex>(&ops.node);
            let (again, results) = {
                let mut waiting = ops.state.lock();
                (waiting.again.take(), std::mem::take(&mut waiting.results))
            };
            let learned = again.expect("a graph goes back once")(results);
            ops.state.lock().arguments = learned.arguments;
            for (node, gradient) in learned.parameters {
                grads.register::<Flex>(node, gradient);
            }
            if let [Some(link)] = ops.parents {
                grads.register::<Flex>(link.id, sign);
            }
        }
    }

    match Middle
        .prepare::<NoCheckpointing>([link.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(block, sign()),
        OpsKind::UnTracked(prep) => prep.finish(sign()),
    }
}

/// The node of a result.
fn given(link: &Tracked, result: FlexTensor, block: Block, index: usize) -> Tracked {
    #[derive(Debug)]
    struct Given;

    impl Backward<Flex, 1> for Given {
        type State = (Block, usize);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            let (block, index) = ops.state;
            block.lock().results[index] = Some(gradient);
            if let [Some(link)] = ops.parents {
                grads.register::<Flex>(link.id, sign());
            }
        }
    }

    match Given
        .prepare::<NoCheckpointing>([link.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish((block, index), result),
        OpsKind::UnTracked(prep) => prep.finish(result),
    }
}

/// A node that gives `result` its `gradient`, behind `link`, which does so for others.
fn seed(link: Option<Tracked>, result: Tracked, gradient: FlexTensor) -> Tracked {
    #[derive(Debug)]
    struct Seed;

    impl Backward<Flex, 2> for Seed {
        type State = FlexTensor;

        fn backward(self, ops: Ops<FlexTensor, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let sign = grads.consume::<Flex>(&ops.node);
            let [link, result] = ops.parents;
            if let Some(result) = result {
                grads.register::<Flex>(result.id, ops.state);
            }
            if let Some(link) = link {
                grads.register::<Flex>(link.id, sign);
            }
        }
    }

    let link = link.unwrap_or_else(nothing);
    match Seed
        .prepare::<NoCheckpointing>([link.node(), result.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(gradient, sign()),
        OpsKind::UnTracked(prep) => prep.finish(sign()),
    }
}
