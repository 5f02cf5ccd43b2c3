//! Decoding attention over a KV cache in parts: attention to keys that lie in several parts, as in writing word by word:
//! nothing is moved together first.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

use burn::backend::DType;
use burn::tensor::{Bytes, Shape};
use burn_flex::{FlexTensor, Layout};
use rayon::prelude::*;

use super::attention::{Heads, side_by_side};
use super::linear::Matrix;
use super::rows::{add_to, softmax_rows};
use super::simd::{halved, multiply_add, vectorised};
use super::storage::filled;
use crate::attention::PartRead;

/// Tasks of a query at most, each with some of its heads.
const SHARES: usize = 4;

/// Keys and values `[rows, key heads, keys, width]`, and what each row of the queries reads of them.
pub(crate) struct Part {
    pub(crate) key: FlexTensor,
    pub(crate) value: FlexTensor,
    pub(crate) reads: Arc<[PartRead]>,
}

/// `softmax(scale · query · keysᵀ + bias) · values` for `query` `[batch, heads, queries, width]`, of the same shape. There is a
/// part, and all have as many heads; the bias broadcasts to `[batch, heads, queries, most keys of a row]`.
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
            .map(|part| (Heads::new(&part.key), Heads::new(&part.value), &part.reads[..]))
            .collect(),
        bias: bias.as_ref().map(Heads::new),
        scale: scale as f32,
    };
    let [batch, heads, queries, width] = pass.query.shape;
    let fill = |target: &mut [MaybeUninit<f32>]| {
        if target.is_empty() {
            return;
        }
        // Whole groups of heads that share their keys.
        let group = heads / pass.key_heads();
        let share = heads.div_ceil(SHARES).next_multiple_of(group);
        let mut shares: Vec<_> = target
            .chunks_mut(heads * width)
            .enumerate()
            .flat_map(|(token, target)| {
                let shares = target.chunks_mut(share * width).enumerate();
                shares.map(move |(index, target)| (token, index * share, target))
            })
            .collect();
        let shares = shares.par_iter_mut();
        shares.for_each_init(Vec::new, |scores, (token, head, target)| {
            target.fill(MaybeUninit::new(0.0));
            // SAFETY: every number was written.
            let target = unsafe { target.assume_init_mut() };
            let heads = *head..*head + target.len() / width;
            pass.attend(*token / queries, *token % queries, heads, scores, target);
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
    /// Keys, values, and what each row of the queries reads of them.
    parts: Vec<(Heads<'a>, Heads<'a>, &'a [PartRead])>,
    bias: Option<Heads<'a>>,
    scale: f32,
}

impl Pass<'_> {
    fn key_heads(&self) -> usize {
        self.parts[0].0.shape[1]
    }

    /// Adds the means of the values, weighted for some heads of one query, to `target`. The heads of a key are read one after
    /// the other, since they mostly lie so.
    fn attend(
        &self,
        row: usize,
        token: usize,
        heads: Range<usize>,
        scores: &mut Vec<f32>,
        target: &mut [f32],
    ) {
        let group = self.query.shape[1] / self.key_heads();
        let key_heads = heads.start / group..heads.end.div_ceil(group);
        let keys: usize = self.parts.iter().map(|(.., reads)| reads[row].keys.len()).sum();
        if keys == 0 {
            return;
        }
        let query = self.query.heads(row, heads.clone(), token);
        scores.clear();
        scores.resize(heads.len() * keys, 0.0);
        let mut place = 0;
        for (key, _, reads) in &self.parts {
            let read = &reads[row];
            for token in read.keys.clone() {
                let key = key.heads(read.row, key_heads.clone(), token);
                score(query, key, self.scale, &mut scores[place..], keys);
                place += 1;
            }
        }
        if let Some(bias) = self.bias {
            for (head, scores) in heads.zip(scores.chunks_exact_mut(keys)) {
                add_to(scores, bias.row(row, head, token, keys));
            }
        }
        softmax_rows(scores, keys, keys as isize, 0);
        let mut place = 0;
        for (_, value, reads) in &self.parts {
            let read = &reads[row];
            for token in read.keys.clone() {
                let value = value.heads(read.row, key_heads.clone(), token);
                add_weighted(&scores[place..], keys, value, target);
                place += 1;
            }
        }
    }
}

vectorised! {
    /// Writes the scaled products of queries with a key of their heads, `stride` apart. Neighbours share a key where there are
    /// fewer keys.
    fn score(query: Matrix, key: Matrix, scale: f32, scores: &mut [f32], stride: usize) {
        let (width, group) = (query.columns, query.rows / key.rows);
        for head in 0..query.rows {
            let query = &query.values[head * query.row_stride..][..width];
            let key = &key.values[head / group * key.row_stride..][..width];
            let ((query, query_rest), (key, key_rest)) = (query.as_chunks::<16>(), key.as_chunks::<16>());
            let mut lanes = [0.0; 16];
            for chunk in 0..query.len() {
                for lane in 0..16 {
                    lanes[lane] = multiply_add::<FUSED>(query[chunk][lane], key[chunk][lane], lanes[lane]);
                }
            }
            for lane in 0..query_rest.len() {
                lanes[lane] = multiply_add::<FUSED>(query_rest[lane], key_rest[lane], lanes[lane]);
            }
            let add = |a: f32, b: f32| a + b;
            let lanes: [f32; 8] = halved(lanes, add);
            let lanes: [f32; 4] = halved(lanes, add);
            let lanes: [f32; 2] = halved(lanes, add);
            scores[head * stride] = scale * (lanes[0] + lanes[1]);
        }
    }

    /// Adds a value of each head, times the head's weight, which are `stride` apart.
    fn add_weighted(weights: &[f32], stride: usize, value: Matrix, target: &mut [f32]) {
        let width = value.columns;
        let group = target.len() / width / value.rows;
        for (head, target) in target.chunks_exact_mut(width).enumerate() {
            let (weight, value) = (weights[head * stride], &value.values[head / group * value.row_stride..][..width]);
            for (target, value) in target.iter_mut().zip(value) {
                *target = multiply_add::<FUSED>(weight, *value, *target);
            }
        }
    }
}
