//! The evaluator that needs nothing but data: the objective's own terms on samples that training does not see.

use blip2_distributed::Communicator;
use blip2_objectives::SumOrder;
use burn::module::Module;
use burn::tensor::Device;

use crate::{Batch, Evaluator, FeatureSource, Objective, Row, StepContext, TrainError};

/// The mean of each term over the same batches each time, off the tape. `loss` is their weighted sum. Each rank takes some of the
/// batches.
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
    /// Who shares the batches.
    pub ranks: &'a Communicator,
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
        let mut names: Vec<&'static str> = Vec::new();
        let mut own: Vec<f64> = Vec::new();
        let mine = (1..)
            .zip(&self.batches)
            .skip(self.ranks.rank())
            .step_by(self.ranks.size());
        for (number, rows) in mine {
            let batch = Batch {
                features: self.features.features(rows, &self.device)?,
                rows: rows.clone(),
            };
            let context = StepContext {
                step: number,
                seed: self.seed,
                part: 0,
                parts: 1,
                ranks: Communicator::alone(),
                order: SumOrder::Free,
            };
            let terms = self.objective.terms(&model, &batch, &context)?;
            let total = terms.total().map(|total| ("loss", total));
            let named = terms
                .iter()
                .map(|term| (term.name, term.value.clone()))
                .chain(total);
            let named: Vec<_> = named.collect();
            names = named.iter().map(|(name, _)| *name).collect();
            let values = named.into_iter().map(|(_, value)| value.into_scalar::<f32>());
            own.extend(values.map(f64::from));
        }
        self.mean(&names, &own)
    }
}

impl<M: Module> HeldOutLoss<'_, M> {
    /// The mean over the batches of all ranks, added up in the order of the batches, of the figures called `names`. `own` are
    /// those of this rank, one batch behind the other.
    fn mean(&self, names: &[&'static str], own: &[f64]) -> Result<Vec<(String, f64)>, TrainError> {
        let listed = self
            .ranks
            .all_gather("names of figures", names.join("\n").as_bytes())?;
        // A rank without a batch knows no names; the first has one, or nobody has.
        let names = String::from_utf8_lossy(&listed[0]).into_owned();
        let names: Vec<&str> = names.lines().collect();
        let all = self.ranks.all_gather("figures", bytemuck::cast_slice(own))?;
        let all: Vec<Vec<f64>> = all
            .iter()
            .map(|bytes| bytemuck::pod_collect_to_vec(bytes))
            .collect();
        let figure = |index: usize| {
            let sum: f64 = (0..self.batches.len())
                .map(|batch| {
                    let (rank, place) = (batch % all.len(), batch / all.len());
                    let value = all[rank].get(place * names.len() + index).copied();
                    value.unwrap_or(f64::NAN) / self.batches.len() as f64
                })
                .sum();
            (names[index].to_owned(), sum)
        };
        Ok((0..names.len()).map(figure).collect())
    }
}
