//! Backward passes of the cross-entropies.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind, unary};
use burn_flex::FlexTensor;

use super::Tracked;
use crate::flex::loss::{self, LinearCrossEntropy, LinearGradients, Targets, Wanted, scaled};
use crate::flex::storage::{dense, values};
use crate::products::Products;

pub(super) fn cross_entropy<C: CheckpointStrategy>(logits: Tracked, targets: Targets) -> Tracked {
    #[derive(Debug)]
    struct CrossEntropy;

    impl Backward<Flex, 1> for CrossEntropy {
        type State = (FlexTensor, Targets);

        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let (logits, targets) = ops.state;
            unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
                loss::cross_entropy_backward(logits, &targets, &gradient)
            });
        }
    }

    let (logits, node) = logits.into_parts();
    let logits = dense(logits);
    let mean = loss::cross_entropy(&logits, &targets);
    match CrossEntropy.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((logits, targets), mean),
        OpsKind::UnTracked(prep) => prep.finish(mean),
    }
}

/// The gradients are made together with the loss, while the logits are there; the backward pass scales them.
pub(super) fn linear_cross_entropy<C: CheckpointStrategy>(
    hidden: Tracked,
    weight: Tracked,
    bias: Option<Tracked>,
    targets: &Targets,
    products: Products,
) -> Tracked {
    let wanted = Wanted {
        hidden: hidden.is_tracked(),
        weight: weight.is_tracked(),
        bias: bias.as_ref().is_some_and(Tracked::is_tracked),
    };
    let ((hidden, hidden_node), (weight, weight_node)) = (hidden.into_parts(), weight.into_parts());
    let (bias, bias_node) = bias.map(Tracked::into_parts).unzip();
    let (hidden, weight, bias) = (dense(hidden), dense(weight), bias.map(dense));
    let arguments = LinearCrossEntropy {
        hidden: &hidden,
        weight: &weight,
        bias: bias.as_ref(),
        targets,
        products,
    };
    let (mean, gradients) = arguments.run(wanted);
    match bias_node {
        Some(bias_node) => finish::<C, 3>([hidden_node, weight_node, bias_node], gradients, mean),
        None => finish::<C, 2>([hidden_node, weight_node], gradients, mean),
    }
}

fn finish<C: CheckpointStrategy, const N: usize>(
    nodes: [NodeGuard; N],
    gradients: LinearGradients,
    mean: FlexTensor,
) -> Tracked {
    #[derive(Debug)]
    struct LinearAndLoss;

    impl<const N: usize> Backward<Flex, N> for LinearAndLoss {
        type State = LinearGradients;

        fn backward(self, ops: Ops<LinearGradients, N>, grads: &mut Gradients, _: &mut Checkpointer) {
            let factor = values(&dense(grads.consume::<Flex>(&ops.node)))[0];
            let LinearGradients { hidden, weight, bias } = ops.state;
            for (node, gradient) in ops.parents.into_iter().zip([hidden, weight, bias]) {
                if let (Some(node), Some(gradient)) = (node, gradient) {
                    grads.register::<Flex>(node.id, scaled(gradient, factor));
                }
            }
        }
    }

    match LinearAndLoss.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(gradients, mean),
        OpsKind::UnTracked(prep) => prep.finish(mean),
    }
}
