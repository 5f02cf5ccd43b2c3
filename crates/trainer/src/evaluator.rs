//! What is measured while a model is trained.

use crate::TrainError;

/// Measures a model on the way, every so many steps, and at the end of a phase. What it finds goes into the log.
pub trait Evaluator<M> {
    /// What the recipe and the log call it.
    fn name(&self) -> &str;

    /// Steps from one time to the next; 0: at the end alone.
    fn every(&self) -> u64;

    /// Figures by name, of `model` as it stands after `step`. Nothing random here may touch the run's own streams.
    ///
    /// # Errors
    /// [`TrainError`], which ends the run.
    fn evaluate(&mut self, model: &M, step: u64) -> Result<Vec<(String, f64)>, TrainError>;
}
