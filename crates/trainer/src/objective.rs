//! What is learned: a model and a batch become named terms, whose weighted sum is to go down.

use std::ops::Range;

use blip2_distributed::Communicator;
use blip2_objectives::{StepGradients, SumOrder, Terms, sums_of_parts};
use burn::module::Module;

use crate::ranks::mean_over_ranks;
use crate::{Batch, Evaluator, HeldOut, TrainError};

/// How far the seeds of two parts lie apart: not by 1, which is what steps are apart.
const SEEDS_APART: u64 = 0xD1B5_4A32_D192_ED03;

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

/// What an objective has to know of the step. Everything random is a function of seed, step and row.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    /// From 1.
    pub step: u64,
    /// The run's.
    pub seed: u64,
    /// Which part of the global batch, from 0.
    pub part: usize,
    /// In how many parts it is cut.
    pub parts: usize,
    /// Who computes them.
    pub ranks: &'a Communicator,
    /// In which order their gradients are added up.
    pub order: SumOrder,
}

impl StepContext<'_> {
    /// What the device's own generator is seeded with for this part of the step.
    pub fn device_seed(&self) -> u64 {
        let step = self.seed.wrapping_mul(0x9E37_79B9).wrapping_add(self.step);
        step.wrapping_add((self.part as u64).wrapping_mul(SEEDS_APART))
    }

    /// The parts that this rank computes.
    pub fn own_parts(&self) -> Range<usize> {
        let (rank, size) = (self.ranks.rank(), self.ranks.size());
        rank * self.parts / size..(rank + 1) * self.parts / size
    }
}
