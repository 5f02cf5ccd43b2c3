//! A table of vectors, looked up by id.

use blip2_kernels::{self as kernels, CrossEntropyOptions};
use burn::module::Module;
use burn::tensor::{Int, Tensor};

use super::PackableWeight;
use crate::{Initializer, ModelError};

/// Rows that are looked at together where all are.
const CHUNK: usize = 4096;

/// Token or position embeddings.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, width]`.
    pub weight: PackableWeight,
}

impl Embedding {
    /// Normal values with the given deviation.
    pub fn new(initializer: &mut Initializer, entries: usize, width: usize, deviation: f32) -> Self {
        Self {
            weight: PackableWeight::plain(initializer.normal([entries, width], deviation)),
        }
    }

    /// As [`Embedding::new`], for the words of a frozen language model: packed with its linear layers, once for both uses of
    /// the table.
    pub fn words(initializer: &mut Initializer, entries: usize, width: usize, deviation: f32) -> Self {
        Self {
            weight: PackableWeight::words(
                initializer.normal([entries, width], deviation),
                initializer.packing(),
            ),
        }
    }

    /// Number of rows.
    pub fn entries(&self) -> usize {
        self.weight.lazy_shape().dims::<2>()[0]
    }

    /// Vectors of `ids` `[batch, tokens]` as `[batch, tokens, width]`.
    ///
    /// Ids must lie in the table: [`Embedding::check`] turns a bad one into an error before it gets here.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [batch, tokens] = ids.dims();
        let ids = ids.reshape([batch * tokens]);
        let rows = match self.weight.packed() {
            Some(weight) => kernels::packed_embedding(weight, ids),
            None => kernels::embedding(self.weight.val(), ids),
        };
        let [_, width] = rows.dims();
        rows.reshape([batch, tokens, width])
    }

    /// Standard deviation over all values of the table.
    pub fn deviation(&self) -> f64 {
        let device = self.weight.lazy_device();
        let [entries, width] = self.weight.lazy_shape().dims();
        let (mut sum, mut squares) = (0.0, 0.0);
        for start in (0..entries).step_by(CHUNK) {
            let ids = Tensor::arange(start as i64..(start + CHUNK).min(entries) as i64, &device);
            let rows = self.forward(ids.unsqueeze()).into_data().convert::<f32>();
            for value in rows.iter::<f32>().map(f64::from) {
                sum += value;
                squares += value * value;
            }
        }
        let count = (entries * width) as f64;
        (squares / count - (sum / count).powi(2)).max(0.0).sqrt()
    }

    /// The table as an output layer: `hidden` `[rows, width]` to the logits `[rows, entries]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        match self.weight.packed() {
            Some(weight) => kernels::packed_linear(hidden, weight, None),
            None => kernels::linear(hidden, self.weight.val(), None),
        }
    }

    /// Mean cross-entropy `[1]` of the [`Embedding::logits`] of `hidden` `[rows, width]` against the ids `targets` `[rows]`.
    pub fn cross_entropy(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
        let options = CrossEntropyOptions::default();
        if self.weight.packed().is_some() {
            return kernels::cross_entropy(self.logits(hidden), targets, options);
        }
        kernels::linear_cross_entropy(hidden, self.weight.val(), None, targets, options)
    }

    /// # Errors
    /// [`ModelError::Vocabulary`] for the first of `ids` that is not in the table.
    pub fn check<'a>(&self, ids: impl IntoIterator<Item = &'a u32>) -> Result<(), ModelError> {
        let vocabulary = self.entries();
        match ids.into_iter().find(|id| **id as usize >= vocabulary) {
            Some(&id) => Err(ModelError::Vocabulary { id, vocabulary }),
            None => Ok(()),
        }
    }
}
