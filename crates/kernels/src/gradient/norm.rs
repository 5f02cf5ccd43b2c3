//! Backward passes of layer norm and RMS norm.

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::norm::{self, Norm};
use crate::flex::storage::dense;

/// What every norm's backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    /// The tensor that was normalised.
    x: FlexTensor,
    weight: FlexTensor,
    norm: Norm,
    epsilon: f64,
}

impl Saved {
    fn forward(&self, bias: Option<&FlexTensor>) -> FlexTensor {
        norm::normalise(self.x.clone(), self.norm, &self.weight, bias, self.epsilon)
    }

    /// Registers the gradients of weight and bias where they are wanted, and gives that of `x` back.
    fn backward(
        &self,
        weight: Option<NodeId>,
        bias: Option<NodeId>,
        gradient: FlexTensor,
        grads: &mut Gradients,
    ) -> FlexTensor {
        let wanted = weight.is_some() || bias.is_some();
        let gradients =
            norm::normalise_backward(&self.x, gradient, self.norm, &self.weight, self.epsilon, wanted);
        if let Some((of_weight, of_bias)) = gradients.parameters {
            for (node, gradient) in [(weight, of_weight), (bias, of_bias)] {
                if let Some(node) = node {
                    grads.register::<Flex>(node, gradient);
                }
            }
        }
        gradients.x
    }
}

/// What reads the result gets it computed again.
pub(super) fn layer_norm(x: Tracked, weight: Tracked, bias: Tracked, epsilon: f64) -> Tracked {
    #[derive(Debug)]
    struct LayerNorm;

    impl Backward<Flex, 3> for LayerNorm {
        type State = Saved;

        fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            let [x, weight, bias] = ops.parents;
            let gradient = ops.state.backward(
                weight.map(|node| node.id),
                bias.map(|node| node.id),
                gradient,
                grads,
            );
            if let Some(node) = x {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }

    #[derive(Debug)]
    struct Again([NodeId; 3], f64);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, node: NodeId) {
            let [x, weight, bias] = self.0.map(|id| states.get_state::<FlexTensor>(&id));
            let (weight, bias) = (dense(weight), dense(bias));
            states.save(
                node,
                norm::normalise(x, Norm::Layer, &weight, Some(&bias), self.1),
            );
        }
    }

    let prep = LayerNorm
        .prepare::<BalancedCheckpointing>([x.node(), weight.node(), bias.node()])
        .memory_bound()
        .retro_forward(Again([x.id(), weight.id(), bias.id()], epsilon))
        .parents([&x, &weight, &bias]);
    let [x, weight, bias] = [x, weight, bias].map(Tracked::into_primitive);
    let (weight, bias) = (dense(weight), dense(bias));
    match prep.stateful() {
        OpsKind::Tracked(prep) => {
            let saved = Saved {
                x: dense(x),
                weight,
                norm: Norm::Layer,
                epsilon,
            };
            let y = saved.forward(Some(&bias));
            prep.finish(saved, y)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(norm::normalise(x, Norm::Layer, &weight, Some(&bias), epsilon))
        }
    }
}

/// The sum that a layer norm normalises.
pub(super) fn add<C: CheckpointStrategy>(x: Tracked, residual: Tracked) -> Tracked {
    #[derive(Debug)]
    struct Add;

    impl Backward<Flex, 2> for Add {
        type State = ();

        fn backward(self, ops: Ops<(), 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            for node in ops.parents.into_iter().flatten() {
                grads.register::<Flex>(node.id, gradient.clone());
            }
        }
    }

    let ((x, x_node), (residual, residual_node)) = (x.into_parts(), residual.into_parts());
    Add.prepare::<C>([x_node, residual_node])
        .compute_bound()
        .stateless(norm::add(x, residual))
}

pub(super) fn rms_norm<C: CheckpointStrategy>(x: Tracked, weight: Tracked, epsilon: f64) -> Tracked {
    #[derive(Debug)]
    struct RootMeanSquareNorm;

    impl Backward<Flex, 2> for RootMeanSquareNorm {
        type State = Saved;

        fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            let [x, weight] = ops.parents;
            let gradient = ops
                .state
                .backward(weight.map(|node| node.id), None, gradient, grads);
            if let Some(node) = x {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }

    let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
    let weight = dense(weight);
    match RootMeanSquareNorm
        .prepare::<C>([x_node, weight_node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let saved = Saved {
                x: dense(x),
                weight,
                norm: Norm::RootMeanSquare,
                epsilon,
            };
            let y = saved.forward(None);
            prep.finish(saved, y)
        }
        OpsKind::UnTracked(prep) => {
            prep.finish(norm::normalise(x, Norm::RootMeanSquare, &weight, None, epsilon))
        }
    }
}
