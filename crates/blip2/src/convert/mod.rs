//! Between the checkpoints of LAVIS, BLIP-2's original code, and the folders of `transformers`. Weights stream from file to
//! file, one tensor at a time; no model is built.

mod architecture;
mod files;
mod from_training;
mod instruction;
mod to_hugging_face;
mod to_lavis;

pub(crate) use architecture::in_thirds;
pub(crate) use files::{Changes, write_folder};
pub use from_training::{trained_to_hugging_face, trained_to_lavis};
pub(crate) use instruction::Instruction;
pub use to_hugging_face::convert_to_hugging_face;
pub use to_lavis::convert_to_lavis;

use serde::Serialize;

use crate::{Blip2Error, HuggingFaceFolder};
use architecture::Architecture;

impl HuggingFaceFolder {
    /// Whether the weights are those of the model in `config.json`, whole, by names and shapes alone: nothing is read.
    ///
    /// # Errors
    /// [`Blip2Error::Weights`] with all that is missing, unexpected or mis-shaped in any part of the model; [`Blip2Error`] where
    /// the configuration contradicts itself.
    pub fn check(&self) -> Result<(), Blip2Error> {
        let architecture = Architecture::read(self.path(), self.kind(), None)?;
        Ok(architecture.check(&in_thirds(self.store()))?)
    }
}

/// What a conversion did with the tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conversion {
    /// Tensors in the new form.
    pub written: usize,
    /// How many of them are frozen and came from the model that the new one is like, since the checkpoint left them out.
    pub frozen: usize,
    /// Tensors of the input that the new form has no place for.
    pub dropped: Vec<LeftOut>,
    /// Tensors that the new form has a place for, and the input did not hold. The original code makes them anew.
    pub absent: Vec<String>,
}

/// A tensor that did not go over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name in the input.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}
