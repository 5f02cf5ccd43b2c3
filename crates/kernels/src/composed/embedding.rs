//! Embedding lookup (gather of rows) out of ordinary tensor operations.

use burn::tensor::{Int, Tensor};

pub(crate) fn embedding(weight: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    weight.select(0, ids)
}
