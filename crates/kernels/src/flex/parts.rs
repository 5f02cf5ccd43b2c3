//! Attention to keys that lie in several parts, as in writing word by word: nothing is moved together first.

use std::mem::MaybeUninit;

use burn::backend::DType;
use burn::tensor::{Bytes, Shape};
use burn_flex::{FlexTensor, Layout};
use rayon::prelude::*;

use super::attention::{Heads, side_by_side};
use super::linear::Matrix;
use super::rows::{add_to, softmax_rows};
use super::simd::{halved, multiply_add, vectorised};
use super::storage::filled;

/// Numbers of keys that a task reads at least.
const TASK: usize = 1 << 15;

/// Keys and values `[rows, key heads, keys, width]`, and the row of them that each row of the queries reads.
pub(crate) struct Part {
    pub(crate) key: FlexTensor,
    pub(crate) value: FlexTensor,
    pub(crate) rows: Vec<usize>,
}

/// `softmax(scale · query · keysᵀ + bias) · values` for `query` `[batch, heads, queries, width]`, of the same shape; the bias
/// broadcasts to `[batch, heads, queries, all keys]`.
pub(crate) fn attention(
    query: FlexTensor,
    parts: Vec<Part>,
    bias: Option<FlexTensor>,
    scale: f64,
) -> FlexTensor {
    let (query, bias) = (side_by_side(query), bias.map(side_by_side));
    let parts: Vec<Part> = parts
        .into_iter()
        .map(|part| Part {
            key: side_by_side(part.key),
            value: side_by_side(part.value),
            ..part
        })
        .collect();
    let pass = Pass {
        query: Heads::new(&query),
        parts: parts
            .iter()
            .map(|part| (Heads::new(&part.key), Heads::new(&part.value), &part.rows[..]))
            .collect(),
        bias: bias.as_ref().map(Heads::new),
        scale: scale as f32,
    };
    let [batch, heads, queries, width] = pass.query.shape;
    let fill = |target: &mut [MaybeUninit<f32>]| {
        if target.is_empty() {
            return;
        }
        let rows = target.par_chunks_mut(width).enumerate();
        let rows = rows.with_min_len(TASK / (pass.keys() * width).max(1) + 1);
        rows.for_each_init(Vec::new, |scores, (index, target)| {
            let (token, head) = (index / heads, index % heads);
            target.fill(MaybeUninit::new(0.0));
            // SAFETY: every number was written.
            let target = unsafe { target.assume_init_mut() };
            pass.attend([token / queries, head, token % queries], scores, target);
        });
    };
    // SAFETY: each row is filled.
    let values = unsafe { filled(batch * heads * queries * width, fill) };
    // The heads of a token lie together, as the layer after attention wants them.
    let strides = [queries * heads * width, width, heads * width, 1];
    let shape = Shape::from([batch, heads, queries, width]);
    let layout = Layout::new(shape, strides.map(|stride| stride as isize).to_vec(), 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// One attention over borrowed arguments.
struct Pass<'a> {
    query: Heads<'a>,
    /// Keys, values, and the row of them for each row of the queries.
    parts: Vec<(Heads<'a>, Heads<'a>, &'a [usize])>,
    bias: Option<Heads<'a>>,
    scale: f32,
}

impl Pass<'_> {
    /// Keys that each query sees.
    fn keys(&self) -> usize {
        self.parts.iter().map(|(key, ..)| key.shape[2]).sum()
    }

    /// What one head of the queries reads of a row of a part.
    fn tokens<'a>(&self, part: &Heads<'a>, row: usize, head: usize) -> Matrix<'a> {
        let ([_, heads, ..], [_, key_heads, keys, _]) = (self.query.shape, part.shape);
        part.tokens(row, head / (heads / key_heads), 0..keys)
    }

    /// Adds the mean of the values, weighted for one query, to `target`.
    fn attend(&self, [row, head, token]: [usize; 3], scores: &mut Vec<f32>, target: &mut [f32]) {
        let width = self.query.shape[3];
        let query = self.query.row(row, head, token, width);
        scores.clear();
        for (key, _, rows) in &self.parts {
            let first = scores.len();
            scores.resize(first + key.shape[2], 0.0);
            let Matrix {
                values, row_stride, ..
            } = self.tokens(key, rows[row], head);
            score(query, values, row_stride, self.scale, &mut scores[first..]);
        }
        let keys = scores.len();
        if keys == 0 {
            return;
        }
        if let Some(bias) = self.bias {
            add_to(scores, bias.row(row, head, token, keys));
        }
        softmax_rows(scores, keys, keys as isize, 0);
        let mut weights = &scores[..];
        for (_, value, rows) in &self.parts {
            let (own, others) = weights.split_at(value.shape[2]);
            let Matrix {
                values, row_stride, ..
            } = self.tokens(value, rows[row], head);
            add_weighted(own, values, row_stride, target);
            weights = others;
        }
    }
}

vectorised! {
    /// Writes the scaled products of a query with keys that are `stride` apart.
    fn score(query: &[f32], keys: &[f32], stride: usize, scale: f32, scores: &mut [f32]) {
        let (whole, rest) = query.as_chunks::<16>();
        for (token, score) in scores.iter_mut().enumerate() {
            let (key, key_rest) = keys[token * stride..][..query.len()].as_chunks::<16>();
            let mut lanes = [0.0; 16];
            for chunk in 0..whole.len() {
                for lane in 0..16 {
                    lanes[lane] = multiply_add::<FUSED>(whole[chunk][lane], key[chunk][lane], lanes[lane]);
                }
            }
            for lane in 0..rest.len() {
                lanes[lane] = multiply_add::<FUSED>(rest[lane], key_rest[lane], lanes[lane]);
            }
            let add = |a: f32, b: f32| a + b;
            let lanes: [f32; 8] = halved(lanes, add);
            let lanes: [f32; 4] = halved(lanes, add);
            let lanes: [f32; 2] = halved(lanes, add);
            *score = scale * (lanes[0] + lanes[1]);
        }
    }

    /// Adds the sum of values that are `stride` apart, each times its weight.
    fn add_weighted(weights: &[f32], values: &[f32], stride: usize, target: &mut [f32]) {
        for (token, weight) in weights.iter().enumerate() {
            for (target, value) in target.iter_mut().zip(&values[token * stride..]) {
                *target = multiply_add::<FUSED>(*weight, *value, *target);
            }
        }
    }
}
