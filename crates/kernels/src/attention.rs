//! Scaled dot-product attention.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::composed;
use crate::extension::{Kernels, facts, maybe, takes};

/// How [`attention`] scores.
#[derive(Clone, Debug, Default)]
pub struct AttentionOptions {
    /// Factor on the scores; by default one over the square root of the width of a head.
    pub scale: Option<f64>,
    /// Whether query `i` sees only the keys up to `i + (keys - queries)`: the last query sees all of them.
    pub causal: bool,
}

/// `softmax(scale · query · keyᵀ + bias) · value` for each head (Vaswani et al., 2017).
///
/// `query` is `[batch, heads, queries, width]`; `key` and `value` are `[batch, key heads, keys, width]`, where
/// `heads` is a multiple of `key heads` and neighbouring query heads share a key head (grouped-query attention).
/// `bias` is added to the scores and broadcasts to `[batch, heads, queries, keys]`: masks are `-inf` or a very
/// negative number, relative positions anything. It is a constant: no gradient flows into it. The result is
/// `[batch, heads, queries, width]`.
///
/// A query that sees no key (`-inf` throughout, or before the first key of a causal mask) gives zeros and a zero
/// gradient, where PyTorch gives NaN.
pub fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    options: AttentionOptions,
) -> Tensor<4> {
    let [batch, heads, queries, width] = query.dims();
    let [_, key_heads, keys, _] = key.dims();
    assert!(
        key.dims() == [batch, key_heads, keys, width]
            && value.dims() == key.dims()
            && key_heads > 0
            && heads % key_heads == 0,
        "attention: query {:?}, key {:?} and value {:?} must share batch and width, key and value all of their \
         shape, and the heads of the query must be a multiple of theirs",
        query.dims(),
        key.dims(),
        value.dims()
    );
    if let Some(bias) = &bias {
        let [bias_batch, bias_heads, bias_queries, bias_keys] = bias.dims();
        assert!(
            (bias_batch == 1 || bias_batch == batch)
                && (bias_heads == 1 || bias_heads == heads)
                && (bias_queries == 1 || bias_queries == queries)
                && bias_keys == keys,
            "attention: bias {:?} must broadcast to the scores [{batch}, {heads}, {queries}, {keys}]",
            bias.dims()
        );
    }
    let scale = options.scale.unwrap_or_else(|| (width as f64).sqrt().recip());
    let causal = options.causal;
    let kernel = takes(&[facts(&query), facts(&key), facts(&value)])
        && bias.as_ref().is_none_or(|bias| takes(&[facts(bias)]));
    if !kernel {
        return composed::attention(query, key, value, bias.map(Tensor::detach), scale, causal);
    }
    let (query, key, value) = (query.into_dispatch(), key.into_dispatch(), value.into_dispatch());
    Tensor::from_dispatch(Dispatch::attention(query, key, value, maybe(bias), scale, causal))
}
