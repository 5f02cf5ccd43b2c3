//! Attention out of ordinary tensor operations.

use std::ops::Range;
use std::sync::Arc;

#[cfg(any(feature = "gpu", test))]
use burn::tensor::IndexingUpdateOp;
use burn::tensor::{Bool, Int, Tensor};

use super::{matmul, softmax};
use crate::attention::{KeyPart, PartRead};
use crate::flex::attention::Rules;
use crate::products::Products;

pub(crate) fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    bias: Option<Tensor<4>>,
    rules: &Rules,
) -> Tensor<4> {
    let [_, heads, queries, _] = query.dims();
    let [key, value] = [key, value].map(|x| spread(x, heads, rules));
    let weights = weights(query, &key, bias, 0..queries, queries, rules);
    matmul(weights, value, rules.products)
}

/// How much each of some queries, the `part` of `all` that there are, takes of each value. `key` was [`spread`].
pub(crate) fn weights(
    query: Tensor<4>,
    key: &Tensor<4>,
    bias: Option<Tensor<4>>,
    part: Range<usize>,
    all: usize,
    rules: &Rules,
) -> Tensor<4> {
    let (keys, device) = (key.dims()[2], query.device());
    let mut scores = matmul(
        query.mul_scalar(rules.scale),
        key.clone().swap_dims(2, 3),
        rules.products,
    );
    if let Some(bias) = bias {
        scores = scores + bias;
    }
    if rules.causal {
        let offset = (keys + part.start) as i64 - all as i64;
        let future = Tensor::<2, Bool>::tril_mask([part.len(), keys], offset, &device);
        scores = scores.mask_fill(future.unsqueeze(), f64::NEG_INFINITY);
    }
    softmax(scores)
}

pub(crate) fn attention_in_parts(
    query: Tensor<4>,
    parts: Vec<KeyPart>,
    bias: Option<Tensor<4>>,
    scale: f64,
) -> Tensor<4> {
    let even = |part: &KeyPart| part.reads.windows(2).all(|pair| pair[0].keys == pair[1].keys);
    if !parts.iter().all(even) {
        return row_by_row(query, parts, bias, scale);
    }
    let (keys, values): (Vec<_>, Vec<_>) = parts
        .into_iter()
        .filter(|part| !part.reads[0].keys.is_empty())
        .map(|part| {
            (
                read_part(part.key, &part.reads),
                read_part(part.value, &part.reads),
            )
        })
        .unzip();
    if keys.is_empty() {
        return query.zeros_like();
    }
    let rules = Rules {
        scale,
        causal: false,
        rows: None,
        products: Products::F32,
    };
    let [keys, values] = [keys, values].map(|mut parts| match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 2),
    });
    #[cfg(feature = "cuda")]
    if crate::gpu::takes(&query) && crate::gpu::cuda_attention::serves(&query, [&keys, &values], &rules) {
        return crate::gpu::cuda_attention::attention([query, keys, values], bias, rules);
    }
    attention(query, keys, values, bias, &rules)
}

/// Rows that read different keys are no rectangle.
fn row_by_row(query: Tensor<4>, parts: Vec<KeyPart>, bias: Option<Tensor<4>>, scale: f64) -> Tensor<4> {
    let [batch, ..] = query.dims();
    let attend = |row: usize| {
        let own = |part: &KeyPart| KeyPart {
            reads: Arc::from([part.reads[row].clone()]),
            ..part.clone()
        };
        let parts: Vec<KeyPart> = parts.iter().map(own).collect();
        let keys = parts.iter().map(|part| part.reads[0].keys.len()).sum();
        let bias = bias.clone().map(|bias| {
            let row = if bias.dims()[0] == 1 { 0 } else { row };
            bias.narrow(0, row, 1).narrow(3, 0, keys)
        });
        attention_in_parts(query.clone().narrow(0, row, 1), parts, bias, scale)
    };
    Tensor::cat((0..batch).map(attend).collect(), 0)
}

/// What all rows read of the same keys of `x`.
fn read_part(x: Tensor<4>, reads: &[PartRead]) -> Tensor<4> {
    let keys = &reads[0].keys;
    let rows: Vec<usize> = reads.iter().map(|read| read.row).collect();
    let of_keys = match keys.len() == x.dims()[2] {
        true => x,
        false => x.narrow(2, keys.start, keys.len()),
    };
    read(of_keys, &rows)
}

/// Keys or values as the `heads` of the query read them, `[batch, heads, keys, width]`.
pub(crate) fn spread(x: Tensor<4>, heads: usize, rules: &Rules) -> Tensor<4> {
    let [_, key_heads, _, _] = x.dims();
    repeat_heads(rows_read(x, rules), heads / key_heads)
}

/// Keys or values as the rows of the query read them, `[batch, key heads, keys, width]`.
pub(crate) fn rows_read(x: Tensor<4>, rules: &Rules) -> Tensor<4> {
    match &rules.rows {
        Some(rows) => read(x, rows),
        None => x,
    }
}

#[cfg(any(feature = "gpu", test))]
/// The gradient of what [`spread`] read, `[rows, key heads, keys, width]`, of that of what it gave.
pub(crate) fn gathered(gradient: Tensor<4>, [rows, key_heads]: [usize; 2], rules: &Rules) -> Tensor<4> {
    let [batch, heads, keys, width] = gradient.dims();
    let of_heads = match heads / key_heads {
        1 => gradient,
        count => gradient
            .reshape([batch, key_heads, count, keys, width])
            .sum_dim(2)
            .reshape([batch, key_heads, keys, width]),
    };
    match &rules.rows {
        None => of_heads,
        Some(read) => {
            let read = indices(read, &of_heads);
            Tensor::zeros(
                [rows, key_heads, keys, width],
                (&of_heads.device(), of_heads.dtype()),
            )
            .select_assign(0, read, of_heads, IndexingUpdateOp::Add)
        }
    }
}

/// The rows of `x` that are read, `[rows, heads, keys, width]`.
fn read(x: Tensor<4>, rows: &[usize]) -> Tensor<4> {
    if x.dims()[0] == rows.len() && rows.iter().enumerate().all(|(place, row)| place == *row) {
        return x;
    }
    let rows = indices(rows, &x);
    x.select(0, rows)
}

fn indices(rows: &[usize], beside: &Tensor<4>) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    Tensor::from_data(rows.as_slice(), &beside.device())
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
