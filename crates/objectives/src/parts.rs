//! Parts of a global batch, one after the other on one device: their mean is that of as many devices side by side.

use blip2_core::ModelError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use crate::Terms;

/// What a step learned from a global batch.
pub struct StepGradients {
    /// Of the loss, the mean over all parts.
    pub gradients: Gradients,
    /// Likewise, without graph.
    pub terms: Terms,
}

/// The mean gradients and terms of the losses that `part` gives for each of `parts` parts of a global batch. The graph of a part
/// is gone before the next one is computed: memory grows with a part, not with the batch.
///
/// A single part is neither scaled nor summed.
///
/// # Errors
/// What `part` fails with, and [`ModelError::Invalid`] where there is no part or no term of the loss has a weight.
pub fn average_over_parts<M: Module, E: From<ModelError>>(
    model: &M,
    parts: usize,
    mut part: impl FnMut(usize) -> Result<Terms, E>,
) -> Result<StepGradients, E> {
    let mut step: Option<StepGradients> = None;
    for index in 0..parts {
        let terms = part(index)?;
        let total = terms.total().ok_or_else(|| {
            ModelError::Invalid("every term of the loss has weight 0: give one of them another".to_owned())
        })?;
        let total = match parts {
            1 => total,
            _ => total / parts as f64,
        };
        let (gradients, terms) = (total.backward(), terms.detached());
        step = Some(match step {
            None => StepGradients { gradients, terms },
            Some(sum) => StepGradients {
                gradients: added(model, sum.gradients, gradients),
                terms: sum.terms.plus(terms),
            },
        });
    }
    let sum = step.ok_or_else(|| ModelError::Invalid("a batch needs at least one part".to_owned()))?;
    Ok(match parts {
        1 => sum,
        _ => StepGradients {
            terms: sum.terms.scaled(1.0 / parts as f64),
            ..sum
        },
    })
}

/// The sum of two gradients of each parameter of `model`.
fn added<M: Module>(model: &M, mut sum: Gradients, mut more: Gradients) -> Gradients {
    model.visit(&mut Add {
        sum: &mut sum,
        more: &mut more,
    });
    sum
}

struct Add<'a> {
    sum: &'a mut Gradients,
    more: &'a mut Gradients,
}

impl ModuleVisitor for Add<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        let Some(more) = value.grad_remove(self.more) else {
            return;
        };
        let sum = match value.grad_remove(self.sum) {
            Some(sum) => sum + more,
            None => more,
        };
        value.grad_replace(self.sum, sum);
    }
}
