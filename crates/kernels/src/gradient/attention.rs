//! Backward pass of attention.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::attention::{Attention, Rules};

/// The bias is a constant.
pub(super) fn attention<C: CheckpointStrategy>(
    query: Tracked,
    key: Tracked,
    value: Tracked,
    bias: Option<FlexTensor>,
    rules: Rules,
) -> Tracked {
    #[derive(Debug)]
    struct Attend;

    impl Backward<Flex, 3> for Attend {
        type State = Attention;

        fn backward(self, ops: Ops<Attention, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            for (node, gradient) in ops.parents.into_iter().zip(ops.state.backward(&gradient)) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, gradient);
                }
            }
        }
    }

    let ((query, query_node), (key, key_node), (value, value_node)) =
        (query.into_parts(), key.into_parts(), value.into_parts());
    let arguments = Attention::new(query, key, value, bias, rules);
    let result = arguments.forward();
    match Attend
        .prepare::<C>([query_node, key_node, value_node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(arguments, result),
        OpsKind::UnTracked(prep) => prep.finish(result),
    }
}
