//! The LM head (output layer): a map of its own, or the tied table of embeddings.

use blip2_core::layers::{Embedding, Linear};
use blip2_kernels::{self as kernels, CrossEntropyOptions};
use burn::tensor::{DType, Int, Tensor};

/// What turns states into logits.
pub(crate) enum Head<'a> {
    Map(&'a Linear),
    Table(&'a Embedding),
}

impl<'a> Head<'a> {
    /// `own` if the model has it, `table` if it is tied.
    pub(crate) fn new(own: Option<&'a Linear>, table: &'a Embedding) -> Self {
        own.map_or(Self::Table(table), Self::Map)
    }

    /// Logits `[rows, vocabulary]`, in f32, of states `[rows, width]`.
    pub(crate) fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let logits = match self {
            Self::Map(map) => map.forward(hidden),
            Self::Table(table) => table.logits(hidden),
        };
        logits.cast(DType::F32)
    }

    /// Their mean cross-entropy `[1]` against `targets` `[rows]`.
    pub(crate) fn cross_entropy(&self, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
        match self {
            _ if hidden.dtype() != DType::F32 => {
                kernels::cross_entropy(self.logits(hidden), targets, CrossEntropyOptions::default())
            }
            Self::Map(map) => map.cross_entropy(hidden, targets),
            Self::Table(table) => table.cross_entropy(hidden, targets),
        }
    }
}
