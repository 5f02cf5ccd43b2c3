//! Parts of a global batch: their mean is that of as many devices side by side, whichever device computes which of them.

use std::ops::Range;

use blip2_core::ModelError;
use blip2_distributed::OrderedSum;
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

/// In which order the gradients of parts are added up. Sums of floating-point numbers depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SumOrder {
    /// As they come: one sum is held.
    #[default]
    Free,
    /// That of [`OrderedSum`], which does not depend on who computes which part: a sum is held for each doubling of parts.
    Fixed,
}

/// What is known of a step where some of its parts were computed.
pub struct PartSums {
    /// Sums over neighbouring parts of the gradients of their losses, each divided by the number of all parts. One, where the
    /// order is free.
    pub gradients: Vec<(Range<usize>, Gradients)>,
    /// The terms of each part, without graph.
    pub terms: Vec<Terms>,
}

impl PartSums {
    /// The step, where all parts of `model` are there; nothing where none is.
    pub fn mean<M: Module>(self, model: &M) -> Option<StepGradients> {
        let mut sum = OrderedSum::default();
        let mut add = |left, right| added(model, left, right);
        for (parts, gradients) in self.gradients {
            sum.push(parts, gradients, &mut add);
        }
        Some(StepGradients {
            gradients: sum.total(&mut add)?,
            terms: Terms::mean(self.terms)?,
        })
    }
}

/// The mean gradients and terms of the losses that `part` gives for each of `parts` parts of a global batch.
///
/// # Errors
/// As for [`sums_of_parts`].
pub fn average_over_parts<M: Module, E: From<ModelError>>(
    model: &M,
    parts: usize,
    part: impl FnMut(usize) -> Result<Terms, E>,
) -> Result<StepGradients, E> {
    let sums = sums_of_parts(model, parts, 0..parts, SumOrder::Free, part)?;
    let nothing = || ModelError::Invalid("a batch needs at least one part".to_owned());
    Ok(sums.mean(model).ok_or_else(nothing)?)
}

/// Gradients and terms of the losses that `part` gives for each of the parts `own`, of `parts` that a global batch has. The graph
/// of a part is gone before the next one is computed: memory grows with a part, not with the batch.
///
/// A single part is neither scaled nor summed.
///
/// # Errors
/// What `part` fails with, and [`ModelError::Invalid`] where no term of the loss has a weight.
pub fn sums_of_parts<M: Module, E: From<ModelError>>(
    model: &M,
    parts: usize,
    own: Range<usize>,
    order: SumOrder,
    mut part: impl FnMut(usize) -> Result<Terms, E>,
) -> Result<PartSums, E> {
    let mut add = |left, right| added(model, left, right);
    let mut running: Option<Gradients> = None;
    let mut fixed = OrderedSum::default();
    let mut of_parts = Vec::with_capacity(own.len());
    for index in own.clone() {
        let terms = part(index)?;
        let total = terms.total().ok_or_else(|| {
            ModelError::Invalid("every term of the loss has weight 0: give one of them another".to_owned())
        })?;
        let total = match parts {
            1 => total,
            _ => total / parts as f64,
        };
        let (gradients, terms) = (total.backward(), terms.detached());
        of_parts.push(terms);
        match (order, running.take()) {
            (SumOrder::Fixed, _) => fixed.push(index..index + 1, gradients, &mut add),
            (SumOrder::Free, None) => running = Some(gradients),
            (SumOrder::Free, Some(sum)) => running = Some(add(sum, gradients)),
        }
    }
    let mut gradients = fixed.into_nodes();
    gradients.extend(running.map(|sum| (own, sum)));
    Ok(PartSums {
        gradients,
        terms: of_parts,
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
