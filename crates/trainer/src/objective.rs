//! What is learned: a model and a batch become named terms, whose weighted sum is to go down.

use blip2_objectives::{StepGradients, Terms, average_over_parts};
use burn::module::Module;

use crate::{Batch, TrainError};

/// Something to learn from batches.
pub trait Objective<M: Module> {
    /// The terms of one part of a batch: the same for the same step, whatever came before. They stay on the device.
    ///
    /// # Errors
    /// [`TrainError`] where model and batch do not fit each other.
    fn terms(&self, model: &M, batch: &Batch, context: &StepContext) -> Result<Terms, TrainError>;

    /// The mean gradients and terms of a global batch over its parts, one after the other: the graph of a part is gone before
    /// the next one is computed. Where parts have to know of each other, as in contrast, this is where they meet.
    ///
    /// # Errors
    /// As for [`Objective::terms`].
    fn gradients(
        &self,
        model: &M,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<StepGradients, TrainError> {
        average_over_parts(model, context.parts, |part| {
            let context = StepContext { part, ..*context };
            self.terms(model, &batch.part(part, context.parts), &context)
        })
    }

    /// Puts bounds of parameters back in place after a step.
    fn settle(&self, model: M) -> M {
        model
    }
}

/// What an objective has to know of the step. Everything random is a function of seed, step and row.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// From 1.
    pub step: u64,
    /// The run's.
    pub seed: u64,
    /// Which part of the global batch, from 0.
    pub part: usize,
    /// In how many parts it is cut.
    pub parts: usize,
}

impl StepContext {
    /// What the device's own generator is seeded with for this step.
    pub fn device_seed(&self) -> u64 {
        self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(self.step)
    }
}
