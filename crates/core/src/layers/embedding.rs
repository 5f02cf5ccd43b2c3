//! A table of vectors, looked up by id.

use blip2_kernels as kernels;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use crate::{Initializer, ModelError};

/// Token or position embeddings.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[entries, width]`.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// Normal values with the given deviation.
    pub fn new(initializer: &mut Initializer, entries: usize, width: usize, deviation: f32) -> Self {
        Self {
            weight: initializer.normal([entries, width], deviation),
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
        let weight = self.weight.val();
        let width = weight.dims()[1];
        kernels::embedding(weight, ids.reshape([batch * tokens])).reshape([batch, tokens, width])
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
