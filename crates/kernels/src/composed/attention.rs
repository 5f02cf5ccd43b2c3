//! Attention out of ordinary tensor operations.

use burn::tensor::{Bool, Tensor};

use super::softmax;

pub(crate) fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    scale: f64,
    causal: bool,
) -> Tensor<4> {
    let [_, heads, queries, _] = query.dims();
    let [_, key_heads, keys, _] = key.dims();
    let key = repeat_heads(key, heads / key_heads);
    let value = repeat_heads(value, heads / key_heads);
    let device = query.device();
    let mut scores = query.mul_scalar(scale).matmul(key.swap_dims(2, 3));
    if let Some(bias) = bias {
        scores = scores + bias;
    }
    if causal {
        let future = Tensor::<2, Bool>::tril_mask([queries, keys], keys as i64 - queries as i64, &device);
        scores = scores.mask_fill(future.unsqueeze(), f64::NEG_INFINITY);
    }
    softmax(scores).matmul(value)
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
