//! Backward pass of the embedding lookup.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};

use super::Tracked;
use crate::flex::embedding::Rows;
use crate::flex::storage::dense;

pub(super) fn embedding<C: CheckpointStrategy>(weight: Tracked, rows: Rows) -> Tracked {
    #[derive(Debug)]
    struct Embedding;

    impl Backward<Flex, 1> for Embedding {
        type State = (Rows, Tracked);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = dense(grads.consume::<Flex>(&ops.node));
            let [node] = ops.parents;
            let (rows, weight) = ops.state;
            if let Some(node) = node {
                // The few rows are added to what the table's gradient is so far: a table for each lookup would be as large
                // as the table itself.
                let table = grads.remove::<Flex>(&weight);
                grads.register::<Flex>(node.id, rows.gradient(&gradient, table));
            }
        }
    }

    let found = rows.of(&dense(weight.primitive().clone()));
    match Embedding.prepare::<C>([weight.node()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((rows, weight), found),
        OpsKind::UnTracked(prep) => prep.finish(found),
    }
}
