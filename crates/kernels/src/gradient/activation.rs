//! Backward passes of the activations.

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::activation::{self, Activation};
use crate::flex::storage::dense;

/// What reads the result gets it computed again.
pub(super) fn activate(x: Tracked, activation: Activation) -> Tracked {
    #[derive(Debug)]
    struct Activate;

    impl Backward<Flex, 1> for Activate {
        type State = (FlexTensor, Activation);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (x, activation) = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                activation::activate_backward(x, gradient, activation)
            });
        }
    }

    #[derive(Debug)]
    struct Again(NodeId, Activation);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, node: NodeId) {
            let x = states.get_state::<FlexTensor>(&self.0);
            states.save(node, activation::activate(x, self.1));
        }
    }

    let prep = Activate
        .prepare::<BalancedCheckpointing>([x.node()])
        .memory_bound()
        .retro_forward(Again(x.id(), activation))
        .parents([&x]);
    let x = x.into_primitive();
    match prep.stateful() {
        OpsKind::Tracked(prep) => {
            let y = activation::activate(x.clone(), activation);
            prep.finish((x, activation), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(activation::activate(x, activation)),
    }
}

pub(super) fn silu_gate<C: CheckpointStrategy>(gate: Tracked, up: Tracked) -> Tracked {
    #[derive(Debug)]
    struct SiluGate;

    impl Backward<Flex, 2> for SiluGate {
        type State = (FlexTensor, FlexTensor);

        fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            let [gate_node, up_node] = ops.parents;
            let (gate, up) = ops.state;
            if let Some(node) = gate_node {
                let gradient = activation::silu_gate_backward_gate(&gate, &up, gradient.clone());
                grads.register::<Flex>(node.id, gradient);
            }
            if let Some(node) = up_node {
                grads.register::<Flex>(node.id, activation::silu_gate_backward_up(&gate, gradient));
            }
        }
    }

    let ((gate, gate_node), (up, up_node)) = (gate.into_parts(), up.into_parts());
    match SiluGate
        .prepare::<C>([gate_node, up_node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let (gate, up) = (dense(gate), dense(up));
            let y = activation::silu_gate(gate.clone(), up.clone());
            prep.finish((gate, up), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(activation::silu_gate(gate, up)),
    }
}

pub(super) fn softmax<C: CheckpointStrategy>(x: Tracked) -> Tracked {
    #[derive(Debug)]
    struct Softmax;

    impl Backward<Flex, 1> for Softmax {
        type State = FlexTensor;

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                activation::softmax_backward(&ops.state, gradient)
            });
        }
    }

    let (x, node) = x.into_parts();
    let y = activation::softmax(x);
    match Softmax.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(y.clone(), y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
