//! A named collection of tensors, whatever file it lives in.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};

use super::WeightError;

/// What is known of a tensor before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Number format that [`TensorStore::read`] will give.
    pub dtype: DType,
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
}

/// Read access to weights. Opening a store reads names and shapes alone; values are read one tensor at a time.
pub trait TensorStore: Send + Sync {
    /// What to call the store in a message: usually its path.
    fn label(&self) -> String;

    /// Every tensor by name.
    fn tensors(&self) -> &BTreeMap<String, TensorInfo>;

    /// The values of one tensor.
    ///
    /// # Errors
    /// [`WeightError::Absent`] for an unknown name; [`WeightError::Io`] or [`WeightError::Format`] where reading fails.
    fn read(&self, name: &str) -> Result<TensorData, WeightError>;
}
