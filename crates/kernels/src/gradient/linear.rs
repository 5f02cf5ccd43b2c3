//! Backward pass of the linear layer.

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::linear;
use crate::flex::storage::dense;
use crate::products::Products;

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Saved {
    /// For the weight's gradient, if the weight is tracked: kept by the checkpoints, or the way to compute it again.
    x: Option<NodeId>,
    /// For the input's gradient, and to find the weight's so far.
    weight: Tracked,
    products: Products,
}

pub(super) fn with_bias<C: CheckpointStrategy>(
    x: Tracked,
    weight: Tracked,
    bias: Tracked,
    products: Products,
) -> Tracked {
    #[derive(Debug)]
    struct Linear;

    impl Backward<Flex, 3> for Linear {
        type State = Saved;

        fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, checkpoints: &mut Checkpointer) {
            let gradient = dense(grads.consume::<Flex>(&ops.node));
            let [x, weight, bias] = ops.parents;
            if let Some(node) = bias {
                grads.register::<Flex>(node.id, linear::linear_backward_bias(&gradient));
            }
            register_products(
                x.map(|x| x.id),
                weight.map(|weight| weight.id),
                ops.state,
                &gradient,
                grads,
                checkpoints,
            );
        }
    }

    let y = linear::linear(
        &dense(x.primitive().clone()),
        weight.primitive(),
        Some(bias.primitive()),
        products,
    );
    match Linear
        .prepare::<C>([x.node(), weight.node(), bias.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = weight.is_tracked().then(|| prep.checkpoint(&x));
            prep.finish(Saved { x, weight, products }, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

pub(super) fn without_bias<C: CheckpointStrategy>(
    x: Tracked,
    weight: Tracked,
    products: Products,
) -> Tracked {
    #[derive(Debug)]
    struct Linear;

    impl Backward<Flex, 2> for Linear {
        type State = Saved;

        fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, checkpoints: &mut Checkpointer) {
            let gradient = dense(grads.consume::<Flex>(&ops.node));
            let [x, weight] = ops.parents;
            register_products(
                x.map(|x| x.id),
                weight.map(|weight| weight.id),
                ops.state,
                &gradient,
                grads,
                checkpoints,
            );
        }
    }

    let y = linear::linear(&dense(x.primitive().clone()), weight.primitive(), None, products);
    match Linear
        .prepare::<C>([x.node(), weight.node()])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = weight.is_tracked().then(|| prep.checkpoint(&x));
            prep.finish(Saved { x, weight, products }, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

fn register_products(
    x_node: Option<NodeId>,
    weight_node: Option<NodeId>,
    Saved { x, weight, products }: Saved,
    gradient: &FlexTensor,
    grads: &mut Gradients,
    checkpoints: &mut Checkpointer,
) {
    if let (Some(node), Some(x)) = (weight_node, x) {
        let x = dense(checkpoints.retrieve_node_output::<FlexTensor>(x));
        // A weight that is used again adds to its gradient in place.
        let sum = grads.remove::<Flex>(&weight);
        grads.register::<Flex>(node, linear::linear_backward_weight(gradient, &x, sum, products));
    }
    if let Some(node) = x_node {
        let of_x = linear::linear_backward_x(gradient, weight.primitive(), products);
        grads.register::<Flex>(node, of_x);
    }
}
