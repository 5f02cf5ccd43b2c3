//! Attention out of ordinary tensor operations.

use burn::tensor::{Bool, Tensor};

use super::{matmul, softmax};
use crate::flex::attention::Rules;

pub(crate) fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    rules: &Rules,
) -> Tensor<4> {
    let [_, heads, queries, _] = query.dims();
    let [_, key_heads, keys, _] = key.dims();
    let device = query.device();
    let [key, value] = [key, value].map(|x| {
        let read = match &rules.rows {
            Some(rows) => {
                let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
                x.select(0, Tensor::from_data(rows.as_slice(), &device))
            }
            None => x,
        };
        repeat_heads(read, heads / key_heads)
    });
    let mut scores = matmul(query.mul_scalar(rules.scale), key.swap_dims(2, 3), rules.products);
    if let Some(bias) = bias {
        scores = scores + bias;
    }
    if rules.causal {
        let future = Tensor::<2, Bool>::tril_mask([queries, keys], keys as i64 - queries as i64, &device);
        scores = scores.mask_fill(future.unsqueeze(), f64::NEG_INFINITY);
    }
    matmul(softmax(scores), value, rules.products)
}

/// Each head `count` times, copies side by side: `[batch, heads, keys, width]` to `[batch, heads * count, keys, width]`.
fn repeat_heads(x: Tensor<4>, count: usize) -> Tensor<4> {
    if count == 1 {
        return x;
    }
    let [batch, heads, keys, width] = x.dims();
    x.unsqueeze_dim::<5>(2)
        .repeat_dim(2, count)
        .reshape([batch, heads * count, keys, width])
}
