//! Backward pass of the linear layer with a packed (quantized) weight.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::linear;
use crate::flex::storage::dense;
use crate::packed::PackedWeight;

pub(super) fn packed_linear<C: CheckpointStrategy>(
    x: Tracked,
    weight: PackedWeight,
    bias: Option<FlexTensor>,
) -> Tracked {
    #[derive(Debug)]
    struct PackedLinear;

    impl Backward<Flex, 1> for PackedLinear {
        type State = PackedWeight;

        fn backward(self, ops: Ops<PackedWeight, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let weight = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                linear::packed_linear_backward(&dense(gradient), weight.weight())
            });
        }
    }

    let (x, node) = x.into_parts();
    let y = linear::packed_linear(&dense(x), weight.weight(), bias.map(dense).as_ref());
    match PackedLinear.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(weight, y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
