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

/// The 16-bit format of most bytes of `tensors`, where most are of one; f16 where they are even.
pub fn half_precision<'a>(tensors: impl IntoIterator<Item = &'a TensorInfo>) -> Option<DType> {
    let (mut f16, mut bf16, mut all) = (0, 0, 0);
    for info in tensors {
        let bytes = info.shape.iter().product::<usize>() as u64 * info.dtype.size() as u64;
        all += bytes;
        match info.dtype {
            DType::F16 => f16 += bytes,
            DType::BF16 => bf16 += bytes,
            _ => {}
        }
    }
    let half = if bf16 > f16 { DType::BF16 } else { DType::F16 };
    (2 * (f16 + bf16) > all).then_some(half)
}
