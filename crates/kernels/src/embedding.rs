//! Embedding lookup: rows of a table by id.

use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use crate::composed;
use crate::extension::{Kernels, facts, takes};

/// The rows of `weight` `[entries, width]` at `ids` `[count]`, as `[count, width]`.
///
/// # Panics
/// Where an id is not below the number of entries.
pub fn embedding(weight: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    if !takes(&[facts(&weight)]) {
        return composed::embedding(weight, ids);
    }
    Tensor::from_dispatch(Dispatch::embedding(weight.into_dispatch(), ids.into_dispatch()))
}
