//! Attention out of ordinary tensor operations.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor};

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
    let [_, key_heads, keys, _] = key.dims();
    let device = query.device();
    let [key, value] = [key, value].map(|x| {
        let read = match &rules.rows {
            Some(rows) => read(x, rows),
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
    attention(query, Tensor::cat(keys, 2), Tensor::cat(values, 2), bias, &rules)
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
    read(x.narrow(2, keys.start, keys.len()), &rows)
}

/// The rows of `x` that are read, `[rows, heads, keys, width]`.
fn read(x: Tensor<4>, rows: &[usize]) -> Tensor<4> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let rows = Tensor::from_data(rows.as_slice(), &x.device());
    x.select(0, rows)
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
