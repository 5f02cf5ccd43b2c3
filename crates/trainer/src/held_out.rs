//! The evaluator that needs nothing but data: the objective's own terms on samples that training does not see.

use burn::module::Module;
use burn::tensor::Device;

use crate::{Batch, Evaluator, FeatureSource, Objective, Row, StepContext, TrainError};

/// The mean of each term over the same batches each time, off the tape. `loss` is their weighted sum.
pub struct HeldOutLoss<'a, M: Module> {
    /// What the log calls it.
    pub name: String,
    /// Steps from one time to the next; 0: at the end alone.
    pub every: u64,
    /// What it is measured on.
    pub batches: Vec<Vec<Row>>,
    /// Knows their pictures.
    pub features: &'a dyn FeatureSource,
    /// What is measured.
    pub objective: &'a dyn Objective<M>,
    /// Decides the negatives, with the number of the batch.
    pub seed: u64,
    /// The model's, without autodiff.
    pub device: Device,
}

impl<M: Module> Evaluator<M> for HeldOutLoss<'_, M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn every(&self) -> u64 {
        self.every
    }

    fn evaluate(&mut self, model: &M, _step: u64) -> Result<Vec<(String, f64)>, TrainError> {
        let model = model.valid();
        let mut sums: Vec<(String, f64)> = Vec::new();
        for (number, rows) in (1..).zip(&self.batches) {
            let batch = Batch {
                features: self.features.features(rows, &self.device)?,
                rows: rows.clone(),
            };
            let context = StepContext {
                step: number,
                seed: self.seed,
                part: 0,
                parts: 1,
            };
            let terms = self.objective.terms(&model, &batch, &context)?;
            let total = terms.total().map(|total| ("loss", total));
            let named = terms
                .iter()
                .map(|term| (term.name, term.value.clone()))
                .chain(total);
            for (index, (name, value)) in named.enumerate() {
                let value = f64::from(value.into_scalar::<f32>()) / self.batches.len() as f64;
                match sums.get_mut(index) {
                    Some((_, sum)) => *sum += value,
                    None => sums.push((name.to_owned(), value)),
                }
            }
        }
        Ok(sums)
    }
}
