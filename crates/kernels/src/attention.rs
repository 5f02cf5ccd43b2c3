//! Scaled dot-product attention.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::Dispatch;
use burn::backend::Flex;
use burn::tensor::Tensor;

use crate::composed;
use crate::extension::{Kernels, facts, maybe, primitive, takes};
use crate::flex::attention::Rules;
use crate::flex::parts;
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
    check_bias("attention", bias.as_ref(), [batch, heads, queries, keys]);
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
        #[cfg(feature = "gpu")]
        if crate::gpu::takes(&query) && crate::gpu::takes(&key) && crate::gpu::takes(&value) {
            return crate::gpu::attention::attention(query, key, value, bias, rules);
        }
        return composed::attention(query, key, value, bias.map(Tensor::detach), &rules);
    }
    let (query, key, value) = (query.into_dispatch(), key.into_dispatch(), value.into_dispatch());
    Tensor::from_dispatch(Dispatch::attention(query, key, value, maybe(bias), rules))
}

fn check_bias(name: &str, bias: Option<&Tensor<4>>, scores: [usize; 4]) {
    if let Some(bias) = bias {
        let dims = bias.dims();
        let broadcasts = (0..3).all(|dimension| dims[dimension] == 1 || dims[dimension] == scores[dimension]);
        assert!(
            broadcasts && dims[3] == scores[3],
            "{name}: bias {dims:?} must broadcast to the scores {scores:?}"
        );
    }
}

/// Some of the keys and values that [`attention_in_parts`] reads.
#[derive(Clone, Debug)]
pub struct KeyPart {
    /// `[rows, key heads, keys, width]`.
    pub key: Tensor<4>,
    /// As `key`.
    pub value: Tensor<4>,
    /// What each row of the query's batch reads of them.
    pub reads: Arc<[PartRead]>,
}

/// What a row of the query reads of a [`KeyPart`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartRead {
    /// Row of key and value.
    pub row: usize,
    /// Which of its keys; none where the part is not the row's.
    pub keys: Range<usize>,
}

/// [`attention`] of `query` `[batch, heads, queries, width]` to the keys that its rows read of all `parts`, one part behind the
/// other, which need not be copied together: the beams of a text share the keys of its beginning, those of its words stay where
/// they were written, and texts of different lengths stand side by side. There is no causal mask. `bias` broadcasts to
/// `[batch, heads, queries, keys]`, for as many keys as the row with the most reads: a row with fewer takes the first of them.
/// `scale` is by default one over the square root of the width of a head. Products are made in single precision.
pub fn attention_in_parts(
    query: Tensor<4>,
    parts: Vec<KeyPart>,
    bias: Option<Tensor<4>>,
    scale: Option<f64>,
) -> Tensor<4> {
    let [batch, heads, queries, width] = query.dims();
    assert!(!parts.is_empty(), "attention_in_parts: there must be a part");
    let [_, key_heads, ..] = parts[0].key.dims();
    let mut counts = vec![0; batch];
    for KeyPart { key, value, reads } in &parts {
        let [key_rows, _, keys, _] = key.dims();
        assert!(
            key.dims() == [key_rows, key_heads, keys, width]
                && value.dims() == key.dims()
                && key_heads > 0
                && heads % key_heads == 0,
            "attention_in_parts: key {:?} and value {:?} of a part must share their shape, the width with the query {:?}, and \
             all parts a number of heads that divides its own",
            key.dims(),
            value.dims(),
            query.dims()
        );
        let there = |read: &PartRead| read.keys.is_empty() || read.row < key_rows && read.keys.end <= keys;
        assert!(
            reads.len() == batch && reads.iter().all(there),
            "attention_in_parts: each of the {batch} rows of the query must read some of the {keys} keys of one of the \
             {key_rows} rows of a part: {reads:?}"
        );
        counts
            .iter_mut()
            .zip(&reads[..])
            .for_each(|(count, read)| *count += read.keys.len());
    }
    let most = counts.into_iter().max().unwrap_or(0);
    check_bias("attention_in_parts", bias.as_ref(), [batch, heads, queries, most]);
    let scale = scale.unwrap_or_else(|| (width as f64).sqrt().recip());
    let tensors = parts.iter().flat_map(|part| [&part.key, &part.value]);
    let plain = |x: &Tensor<4>| !x.is_autodiff() && takes(&[facts(x)]);
    if !tensors.chain([&query]).chain(&bias).all(plain) {
        return composed::attention_in_parts(query, parts, bias.map(Tensor::detach), scale);
    }
    let part = |part: KeyPart| parts::Part {
        key: primitive(part.key),
        value: primitive(part.value),
        reads: part.reads,
    };
    let parts = parts.into_iter().map(part).collect();
    let result = parts::attention(primitive(query), parts, bias.map(primitive), scale);
    Tensor::from_primitive::<Flex>(result)
}
