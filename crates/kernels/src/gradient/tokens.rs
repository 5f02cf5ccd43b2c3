//! Backward passes of cutting sequences in two and of putting them together. Neither result is kept for what reads it: it is
//! copied again.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::storage::{dense, tensor, zeros};
use crate::flex::tokens::{join, part, sizes};

/// Where the two parts of a sequence leave their gradients for the whole, so that it gets both in one piece: as gradients of
/// its own, each would come with zeros in place of the other.
type Parts = Arc<Mutex<[Option<FlexTensor>; 2]>>;

pub(super) fn split_tokens(x: Tracked, count: usize) -> (Tracked, Tracked) {
    let [_, tokens, _] = sizes(x.primitive());
    let parts = Parts::default();
    let whole = whole(x, Arc::clone(&parts), count);
    let first = one_part(&whole, Arc::clone(&parts), 0, 0..count);
    (first, one_part(&whole, parts, 1, count..tokens))
}

/// `x` itself, dense, in front of its parts: gathers what they left.
fn whole(x: Tracked, parts: Parts, count: usize) -> Tracked {
    #[derive(Debug)]
    struct Whole;

    impl Backward<Flex, 1> for Whole {
        type State = (Parts, [usize; 3], usize);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (parts, [batch, tokens, width], count) = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |_| {
                let [first, second] =
                    std::mem::take(&mut *parts.lock().unwrap_or_else(PoisonError::into_inner));
                join(
                    &first.unwrap_or_else(|| zeros([batch, count, width])),
                    &second.unwrap_or_else(|| zeros([batch, tokens - count, width])),
                )
            });
        }
    }

    #[derive(Debug)]
    struct Again(NodeId);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, node: NodeId) {
            let x = states.get_state::<FlexTensor>(&self.0);
            states.save(node, dense(x));
        }
    }

    let prep = Whole
        .prepare::<BalancedCheckpointing>([x.node()])
        .memory_bound()
        .retro_forward(Again(x.id()))
        .parents([&x]);
    let sizes = sizes(x.primitive());
    let x = dense(x.into_primitive());
    match prep.stateful() {
        OpsKind::Tracked(prep) => prep.finish((parts, sizes, count), x),
        OpsKind::UnTracked(prep) => prep.finish(x),
    }
}

fn one_part(whole: &Tracked, parts: Parts, index: usize, tokens: Range<usize>) -> Tracked {
    #[derive(Debug)]
    struct Part;

    impl Backward<Flex, 1> for Part {
        type State = (Parts, usize);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (parts, index) = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                parts[index] = Some(dense(gradient));
                // A sign to the whole that there is something.
                tensor(vec![0.0], [1])
            });
        }
    }

    #[derive(Debug)]
    struct Again(NodeId, Range<usize>);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, node: NodeId) {
            let whole = states.get_state::<FlexTensor>(&self.0);
            states.save(node, part(&whole, self.1.clone()));
        }
    }

    let prep = Part
        .prepare::<BalancedCheckpointing>([whole.node()])
        .memory_bound()
        .retro_forward(Again(whole.id(), tokens.clone()))
        .parents([whole]);
    let values = part(whole.primitive(), tokens);
    match prep.stateful() {
        OpsKind::Tracked(prep) => prep.finish((parts, index), values),
        OpsKind::UnTracked(prep) => prep.finish(values),
    }
}

pub(super) fn join_tokens(first: Tracked, second: Tracked) -> Tracked {
    #[derive(Debug)]
    struct Join;

    impl Backward<Flex, 2> for Join {
        type State = [usize; 2];

        fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = dense(grads.consume::<Flex>(&ops.node));
            let [before, behind] = ops.state;
            for (node, tokens) in ops.parents.into_iter().zip([0..before, before..before + behind]) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, part(&gradient, tokens));
                }
            }
        }
    }

    #[derive(Debug)]
    struct Again([NodeId; 2]);

    impl RetroForward for Again {
        fn forward(&self, states: &mut BackwardStates, node: NodeId) {
            let [first, second] = self.0.map(|id| dense(states.get_state::<FlexTensor>(&id)));
            states.save(node, join(&first, &second));
        }
    }

    let prep = Join
        .prepare::<BalancedCheckpointing>([first.node(), second.node()])
        .memory_bound()
        .retro_forward(Again([first.id(), second.id()]))
        .parents([&first, &second]);
    let [first, second] = [first, second].map(|x| dense(x.into_primitive()));
    let joined = join(&first, &second);
    match prep.stateful() {
        OpsKind::Tracked(prep) => prep.finish([sizes(&first)[1], sizes(&second)[1]], joined),
        OpsKind::UnTracked(prep) => prep.finish(joined),
    }
}
