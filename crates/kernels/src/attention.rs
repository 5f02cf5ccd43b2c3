//! Scaled dot-product attention.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::composed;
use crate::extension::{Kernels, facts, maybe, takes};
use crate::flex::attention::Rules;
use crate::products::products;

/// How [`attention`] scores.
#[derive(Clone, Debug, Default)]
pub struct AttentionOptions {
    /// Factor on the scores; by default one over the square root of the width of a head.
    pub scale: Option<f64>,
    /// Whether query `i` sees only the keys up to `i + (keys - queries)`: the last query sees all of them.
    pub causal: bool,
    /// For each row of the query's batch, the row of key and value that it reads: the keys of an image that several texts
    /// are held against need not be copied for each. By default each row has its own.
    pub rows: Option<Vec<usize>>,
}

/// `softmax(scale · query · keyᵀ + bias) · value` for each head (Vaswani et al., 2017).
///
/// `query` is `[batch, heads, queries, width]`; `key` and `value` are `[rows, key heads, keys, width]`, with as many rows as
/// the batch unless [`AttentionOptions::rows`] says which are read, where
/// `heads` is a multiple of `key heads` and neighbouring query heads share a key head (grouped-query attention).
/// `bias` is added to the scores and broadcasts to `[batch, heads, queries, keys]`: masks are `-inf` or a very
/// negative number, relative positions anything. It is a constant: no gradient flows into it. The result is
/// `[batch, heads, queries, width]`.
///
/// A query that sees no key (`-inf` throughout, or before the first key of a causal mask) gives zeros and a zero
/// gradient, where PyTorch gives NaN. The products are as precise as [`with_products`](crate::with_products) says, the
/// softmax is taken in single precision.
pub fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    options: AttentionOptions,
) -> Tensor<4> {
    let [batch, heads, queries, width] = query.dims();
    let [key_rows, key_heads, keys, _] = key.dims();
    assert!(
        key.dims() == [key_rows, key_heads, keys, width]
            && value.dims() == key.dims()
            && key_heads > 0
            && heads % key_heads == 0,
        "attention: query {:?}, key {:?} and value {:?} must share the width, key and value all of their shape, and the \
         heads of the query must be a multiple of theirs",
        query.dims(),
        key.dims(),
        value.dims()
    );
    match &options.rows {
        None => assert_eq!(key_rows, batch, "attention: query and key must share the batch"),
        Some(rows) => assert!(
            rows.len() == batch && rows.iter().all(|row| *row < key_rows),
            "attention: each of the {batch} rows of the query must name one of the {key_rows} rows of key and value: {rows:?}"
        ),
    }
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
    let kernel = takes(&[facts(&query), facts(&key), facts(&value)])
        && bias.as_ref().is_none_or(|bias| takes(&[facts(bias)]));
    let rules = Rules {
        scale,
        causal: options.causal,
        rows: options.rows,
        products: products(),
    };
    if !kernel {
        return composed::attention(query, key, value, bias.map(Tensor::detach), &rules);
    }
    let (query, key, value) = (query.into_dispatch(), key.into_dispatch(), value.into_dispatch());
    Tensor::from_dispatch(Dispatch::attention(query, key, value, maybe(bias), rules))
}
