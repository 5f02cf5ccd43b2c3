//! Backward pass of the lookup.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};

use super::Tracked;
use crate::flex::embedding::Rows;
use crate::flex::storage::dense;

pub(super) fn embedding<C: CheckpointStrategy>(weight: Tracked, rows: Rows) -> Tracked {
    #[derive(Debug)]
    struct Embedding;

    impl Backward<Flex, 1> for Embedding {
        type State = Rows;

        fn backward(self, ops: Ops<Rows, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let rows = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                rows.gradient(&dense(gradient))
            });
        }
    }

    let (weight, node) = weight.into_parts();
    let found = rows.of(&dense(weight));
    match Embedding.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(rows, found),
        OpsKind::UnTracked(prep) => prep.finish(found),
    }
}
