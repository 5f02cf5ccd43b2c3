//! What is measured while a model is trained.

use burn::tensor::Device;

use crate::{Batch, FeatureSource, Row, TrainError};

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

/// Samples that training does not see, and when they are looked at: what an objective needs to measure what its model is for
/// ([`Objective::evaluator`](crate::Objective::evaluator)).
pub struct HeldOut<'a> {
    /// What the log calls it.
    pub name: String,
    /// Steps from one time to the next; 0: at the end alone.
    pub every: u64,
    /// The samples.
    pub rows: Vec<Row>,
    /// Knows their pictures.
    pub features: &'a dyn FeatureSource,
    /// The model's, without autodiff.
    pub device: Device,
}

impl HeldOut<'_> {
    /// `rows` of it with their pictures' features.
    pub(crate) fn batch(&self, rows: &[Row]) -> Result<Batch, TrainError> {
        Ok(Batch {
            features: self.features.features(rows, &self.device)?,
            rows: rows.to_vec(),
        })
    }

    /// # Errors
    /// [`TrainError::Other`] where there is nothing to measure on: the mean of nothing is no figure.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        match self.rows.is_empty() {
            true => Err(TrainError::other(format!(
                "`{}` has no samples to measure on",
                self.name
            ))),
            false => Ok(()),
        }
    }
}
