//! Which part of every global batch a rank computes.

use std::ops::Range;

use blip2_distributed::Communicator;

use crate::{StageRecipe, TrainError};

/// Neighbouring parts of the global batch, as many for each rank, and their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of the parts of the recipe.
    pub(crate) parts: Range<usize>,
    /// Of the global batch.
    pub(crate) rows: Range<usize>,
}

impl Share {
    /// The share of a rank of the batches of `phase`.
    ///
    /// # Errors
    /// [`TrainError::Ranks`] where the ranks cannot have as many parts each: the parts belong to the recipe, since they decide
    /// what is learned, and the number of ranks does not.
    pub(crate) fn new(phase: &str, stage: &StageRecipe, ranks: &Communicator) -> Result<Self, TrainError> {
        let (rank, size, parts) = (ranks.rank(), ranks.size(), stage.parts);
        if !parts.is_multiple_of(size) {
            return Err(TrainError::Ranks(format!(
                "{phase}.parts is {parts}, which {size} ranks cannot share evenly: start a number of ranks that divides it, or \
                 change the recipe"
            )));
        }
        let (parts, pairs) = (parts / size, stage.batch / parts);
        let parts = rank * parts..(rank + 1) * parts;
        Ok(Self {
            rows: parts.start * pairs..parts.end * pairs,
            parts,
        })
    }
}
