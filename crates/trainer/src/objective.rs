//! What is learned: a model and a batch become named terms, whose weighted sum is to go down.

use blip2_objectives::{StepGradients, Terms, sums_of_parts};
use burn::module::Module;

use crate::ranks::mean_over_ranks;
use crate::{Batch, Evaluator, HeldOut, StepContext, TrainError};

/// Something to learn from batches.
pub trait Objective<M: Module> {
    /// The terms of one part of a batch: the same for the same step, whatever came before. They stay on the device.
    ///
    /// # Errors
    /// [`TrainError`] where model and batch do not fit each other.
    fn terms(&self, model: &M, batch: &Batch, context: &StepContext<'_>) -> Result<Terms, TrainError>;

    /// The mean gradients and terms of a global batch over its parts, of which `batch` has those of this rank, one after the other:
    /// the graph of a part is gone before the next one is computed. Where parts have to know of each other, as in contrast, this
    /// is where they meet.
    ///
    /// # Errors
    /// As for [`Objective::terms`]; [`TrainError::Collective`] where ranks do not meet.
    fn gradients(
        &self,
        model: &M,
        batch: &Batch,
        context: &StepContext<'_>,
    ) -> Result<StepGradients, TrainError> {
        let own = context.own_parts();
        let sums = sums_of_parts(model, context.parts, own.clone(), context.order, |part| {
            let context = StepContext { part, ..*context };
            if context.parts > 1 {
                batch.features.device().seed(context.device_seed());
            }
            self.terms(model, &batch.part(part - own.start, own.len()), &context)
        })?;
        mean_over_ranks(model, sums, context)
    }

    /// Measures on samples that training does not see what the model is for: retrieval, captions, answers. `None` where nothing is
    /// known but the loss.
    fn evaluator<'a>(&'a self, _held_out: HeldOut<'a>) -> Option<Box<dyn Evaluator<M> + 'a>> {
        None
    }

    /// Puts bounds of parameters back in place after a step.
    fn settle(&self, model: M) -> M {
        model
    }
}
