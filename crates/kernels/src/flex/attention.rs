//! Flash-style attention, tiled: one block of queries against all its keys at a time: the scores of a block stay in the cache
//! and are never kept. The backward pass makes them again, which costs less than to write and read them.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::DType;
use burn::tensor::{Bytes, Shape};
use burn_flex::{FlexTensor, Layout};
use rayon::prelude::*;

use super::change::Change;
use super::linear::{Matrix, Placement, add_product, set_product, write_product};
use super::rows::{add_to, multiply_by, softmax_rows, softmax_rows_backward};
use super::storage::{dense, filled};
use crate::products::Products;

/// Scores that a task holds at a time.
const SCORES: usize = 1 << 17;

/// Fewest queries of a block, whatever the number of keys.
const FEWEST_QUERIES: usize = 16;

/// The arguments of attention, as the backward pass keeps them.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    /// `[batch, heads, queries, width]`.
    pub(crate) query: FlexTensor,
    /// `[batch, key heads, keys, width]`.
    pub(crate) key: FlexTensor,
    /// As `key`.
    pub(crate) value: FlexTensor,
    /// Added to the scores; broadcasts to `[batch, heads, queries, keys]`.
    pub(crate) bias: Option<FlexTensor>,
    pub(crate) rules: Rules,
}

/// How the arguments are used.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) scale: f64,
    pub(crate) causal: bool,
    /// The row of key and value that each row of the query reads, if not its own.
    pub(crate) rows: Option<Vec<usize>>,
    pub(crate) products: Products,
}

/// A tensor `[batch, heads, tokens, width]`, read through its strides.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    values: &'a [f32],
    pub(super) shape: [usize; 4],
    strides: [usize; 4],
}

impl<'a> Heads<'a> {
    pub(super) fn new(x: &'a FlexTensor) -> Self {
        let layout = x.layout();
        let shape = std::array::from_fn(|dimension| layout.shape()[dimension]);
        // A dimension of one is read at index 0 alone: its stride does not count, and none makes it broadcast.
        let strides = std::array::from_fn(|dimension| match shape[dimension] {
            1 => 0,
            _ => layout.strides()[dimension] as usize,
        });
        Self {
            values: &x.storage::<f32>()[layout.start_offset()..],
            shape,
            strides,
        }
    }

    /// Some tokens of a head.
    pub(super) fn tokens(&self, batch: usize, head: usize, tokens: Range<usize>) -> Matrix<'a> {
        let start = batch * self.strides[0] + head * self.strides[1] + tokens.start * self.strides[2];
        Matrix {
            values: &self.values[start..],
            rows: tokens.len(),
            columns: self.shape[3],
            row_stride: self.strides[2],
            column_stride: self.strides[3],
        }
    }

    /// Some heads of a token.
    pub(super) fn heads(&self, batch: usize, heads: Range<usize>, token: usize) -> Matrix<'a> {
        let start = batch * self.strides[0] + heads.start * self.strides[1] + token * self.strides[2];
        Matrix {
            values: &self.values[start..],
            rows: heads.len(),
            columns: self.shape[3],
            row_stride: self.strides[1],
            column_stride: self.strides[3],
        }
    }

    /// The first numbers of a token that has them [`side_by_side`].
    pub(super) fn row(&self, batch: usize, head: usize, token: usize, length: usize) -> &'a [f32] {
        let start = batch * self.strides[0] + head * self.strides[1] + token * self.strides[2];
        &self.values[start..start + length]
    }
}

/// Where the heads of a result lie. With enough sequences for all threads a task is one sequence, and its tokens are
/// together, as the layer after attention wants them; otherwise a task is one key head with its queries.
#[derive(Clone, Copy)]
struct Order {
    by_sequence: bool,
}

impl Order {
    fn of(batch: usize) -> Self {
        Self {
            by_sequence: batch >= rayon::current_num_threads(),
        }
    }

    /// Heads of a task, of the `heads` that share `key_heads` keys.
    fn heads(self, heads: usize, key_heads: usize) -> usize {
        if self.by_sequence {
            heads
        } else {
            heads / key_heads
        }
    }

    /// Offset of a head within the task's result, and the stride of its rows.
    fn place(self, head: usize, heads: usize, tokens: usize, width: usize) -> (usize, usize) {
        if self.by_sequence {
            (head * width, heads * width)
        } else {
            (head * tokens * width, width)
        }
    }

    /// The result as a tensor `[batch, heads, tokens, width]`.
    fn tensor(self, values: Vec<f32>, [batch, heads, tokens, width]: [usize; 4]) -> FlexTensor {
        let strides = if self.by_sequence {
            [tokens * heads * width, width, heads * width, 1]
        } else {
            [heads * tokens * width, tokens * width, width, 1]
        };
        let shape = Shape::from([batch, heads, tokens, width]);
        let layout = Layout::new(shape, strides.map(|stride| stride as isize).to_vec(), 0);
        FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
    }
}

/// One attention over borrowed arguments.
struct Pass<'a> {
    query: Heads<'a>,
    key: Heads<'a>,
    value: Heads<'a>,
    bias: Option<Heads<'a>>,
    rules: &'a Rules,
    order: Order,
}

/// A block of queries of one head and the keys that any of them may see.
struct Block {
    batch: usize,
    head: usize,
    key_batch: usize,
    key_head: usize,
    queries: Range<usize>,
    keys: usize,
}

impl Attention {
    /// Makes the arguments readable: strides must not be negative, and a bias has its keys side by side.
    pub(crate) fn new(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        bias: Option<FlexTensor>,
        rules: Rules,
    ) -> Self {
        let [query, key, value] = [query, key, value].map(|x| {
            if x.layout().has_positive_strides() {
                x
            } else {
                dense(x)
            }
        });
        let bias = bias.map(side_by_side);
        Self {
            query,
            key,
            value,
            bias,
            rules,
        }
    }

    fn pass(&self) -> Pass<'_> {
        let (query, key) = (Heads::new(&self.query), Heads::new(&self.key));
        Pass {
            order: Order::of(query.shape[0].min(key.shape[0])),
            query,
            key,
            value: Heads::new(&self.value),
            bias: self.bias.as_ref().map(Heads::new),
            rules: &self.rules,
        }
    }

    /// The result, `[batch, heads, queries, width]`.
    pub(crate) fn forward(&self) -> FlexTensor {
        let pass = self.pass();
        let [batch, heads, queries, width] = pass.query.shape;
        let task = pass.order.heads(heads, pass.key.shape[1]) * queries * width;
        let fill = |target: &mut [MaybeUninit<f32>]| {
            if !target.is_empty() {
                let chunks = target.par_chunks_mut(task).enumerate();
                chunks.for_each_init(Vec::new, |scores, (index, target)| {
                    pass.forward(index, target, scores)
                });
            }
        };
        // SAFETY: each task writes the product of each block of its heads, and the blocks cover the queries.
        let values = unsafe { filled(batch * heads * queries * width, fill) };
        pass.order.tensor(values, pass.query.shape)
    }

    /// The gradients of query, key and value.
    pub(crate) fn backward(&self, gradient: &FlexTensor) -> [FlexTensor; 3] {
        let gradient = if gradient.layout().has_positive_strides() {
            gradient.clone()
        } else {
            dense(gradient.clone())
        };
        let gradient = Heads::new(&gradient);
        let pass = self.pass();
        let length = |shape: [usize; 4]| shape.iter().product::<usize>();
        let (queries, keys) = (length(pass.query.shape), length(pass.key.shape));
        let tasks = |batch: usize| match pass.order.by_sequence {
            true => batch,
            false => batch * pass.key.shape[1],
        };
        let (query_tasks, key_tasks) = (tasks(pass.query.shape[0]), tasks(pass.key.shape[0]));
        let fill = |of_query: &mut [MaybeUninit<f32>],
                    of_key: &mut [MaybeUninit<f32>],
                    of_value: &mut [MaybeUninit<f32>]| {
            // Queries that read the same keys add to the same gradients: they are one task.
            let mut shares: Vec<Vec<_>> = (0..key_tasks).map(|_| Vec::new()).collect();
            if !of_query.is_empty() {
                for (task, of_query) in of_query.chunks_mut(queries / query_tasks).enumerate() {
                    shares[pass.key_task(task)].push((task, of_query));
                }
            }
            if keys == 0 {
                return shares
                    .into_iter()
                    .flatten()
                    .for_each(|(_, of_query)| of_query.fill(MaybeUninit::new(0.0)));
            }
            let of_keys = of_key
                .par_chunks_mut(keys / key_tasks)
                .zip(of_value.par_chunks_mut(keys / key_tasks));
            shares.into_par_iter().zip(of_keys).for_each_init(
                Default::default,
                |scores, (share, (of_key, of_value))| {
                    let [of_key, of_value] = [of_key, of_value].map(cleared);
                    for (task, of_query) in share {
                        pass.backward(task, gradient, of_query, of_key, of_value, scores);
                    }
                },
            );
        };
        let (mut of_key, mut of_value) = (Vec::with_capacity(keys), Vec::with_capacity(keys));
        // SAFETY: as in `forward`; without keys, all is filled with zeros.
        let of_query = unsafe {
            filled(queries, |of_query| {
                fill(
                    of_query,
                    &mut of_key.spare_capacity_mut()[..keys],
                    &mut of_value.spare_capacity_mut()[..keys],
                )
            })
        };
        // SAFETY: each task clears its share of both, and the shares cover them.
        unsafe {
            of_key.set_len(keys);
            of_value.set_len(keys);
        }
        [
            pass.order.tensor(of_query, pass.query.shape),
            pass.order.tensor(of_key, pass.key.shape),
            pass.order.tensor(of_value, pass.key.shape),
        ]
    }
}

/// The tensor with the numbers of its last dimension one behind the other.
pub(super) fn side_by_side(x: FlexTensor) -> FlexTensor {
    let layout = x.layout();
    if layout.has_positive_strides() && layout.strides()[3] == 1 {
        x
    } else {
        dense(x)
    }
}

impl Pass<'_> {
    /// The row of key and value that a row of the query reads.
    fn key_batch(&self, batch: usize) -> usize {
        self.rules.rows.as_ref().map_or(batch, |rows| rows[batch])
    }

    /// The share of key and value that a task reads.
    fn key_task(&self, task: usize) -> usize {
        let key_heads = self.key.shape[1];
        match self.order.by_sequence {
            true => self.key_batch(task),
            false => self.key_batch(task / key_heads) * key_heads + task % key_heads,
        }
    }

    /// How products of scores are made, in rows of so many numbers.
    fn placement(&self, stride: usize) -> Placement {
        Placement {
            stride,
            threads: false,
            products: self.rules.products,
        }
    }

    /// The blocks of a task, with the place of each block's head among the task's.
    fn blocks(&self, task: usize) -> impl Iterator<Item = (usize, usize, Block)> {
        let ([_, heads, queries, _], [_, key_heads, keys, _]) = (self.query.shape, self.key.shape);
        let group = heads / key_heads;
        let by_sequence = self.order.by_sequence;
        let count = queries.div_ceil((SCORES / keys.max(1)).max(FEWEST_QUERIES));
        let size = queries.div_ceil(count.max(1)).max(1);
        let causal = self.rules.causal;
        (0..self.order.heads(heads, key_heads)).flat_map(move |local| {
            let (batch, head) = if by_sequence {
                (task, local)
            } else {
                (task / key_heads, task % key_heads * group + local)
            };
            (0..queries).step_by(size).map(move |start| {
                let end = (start + size).min(queries);
                let keys = if causal {
                    visible(end - 1, queries, keys)
                } else {
                    keys
                };
                let key_head = head / group;
                let local_key = if by_sequence { key_head } else { 0 };
                (
                    local,
                    local_key,
                    Block {
                        batch,
                        head,
                        key_batch: self.key_batch(batch),
                        key_head,
                        queries: start..end,
                        keys,
                    },
                )
            })
        })
    }

    fn forward(&self, task: usize, target: &mut [MaybeUninit<f32>], scores: &mut Vec<f32>) {
        let [_, heads, queries, width] = self.query.shape;
        for (local, _, block) in self.blocks(task) {
            let (start, stride) = self.order.place(local, heads, queries, width);
            let target = &mut target[start + block.queries.start * stride..];
            if block.keys == 0 {
                clear(target, stride, block.queries.len(), width);
                continue;
            }
            self.probabilities(&block, scores);
            let value = self.value.tokens(block.key_batch, block.key_head, 0..block.keys);
            write_product(
                target,
                Matrix::new(scores, block.keys),
                value,
                self.placement(stride),
            );
        }
    }

    fn backward(
        &self,
        task: usize,
        gradient: Heads,
        of_query: &mut [MaybeUninit<f32>],
        of_key: &mut [f32],
        of_value: &mut [f32],
        (probabilities, scores): &mut (Vec<f32>, Vec<f32>),
    ) {
        let ([_, heads, queries, width], [_, key_heads, all_keys, _]) = (self.query.shape, self.key.shape);
        for (local, local_key, block) in self.blocks(task) {
            let (start, stride) = self.order.place(local, heads, queries, width);
            let of_query = &mut of_query[start + block.queries.start * stride..];
            if block.keys == 0 {
                clear(of_query, stride, block.queries.len(), width);
                continue;
            }
            self.probabilities(&block, probabilities);
            let weights = Matrix::new(probabilities, block.keys);
            let upstream = gradient.tokens(block.batch, block.head, block.queries.clone());
            let query = self.query.tokens(block.batch, block.head, block.queries.clone());
            let key = self.key.tokens(block.key_batch, block.key_head, 0..block.keys);
            let value = self.value.tokens(block.key_batch, block.key_head, 0..block.keys);
            scores.resize(probabilities.len(), 0.0);
            set_product(scores, upstream, value.transposed(), self.placement(block.keys));
            let scale = self.rules.scale as f32;
            softmax_rows_backward(Change::here(scores), probabilities, block.keys, scale);
            let scores = Matrix::new(scores, block.keys);
            write_product(of_query, scores, key, self.placement(stride));
            let (start, stride) = self.order.place(local_key, key_heads, all_keys, width);
            let placement = self.placement(stride);
            add_product(&mut of_key[start..], scores.transposed(), query, placement);
            add_product(&mut of_value[start..], weights.transposed(), upstream, placement);
        }
    }

    /// Weights of the block's keys for each of its queries.
    fn probabilities(&self, block: &Block, scores: &mut Vec<f32>) {
        let ([_, _, queries, _], [_, _, keys, _]) = (self.query.shape, self.key.shape);
        scores.resize(block.queries.len() * block.keys, 0.0);
        let query = self.query.tokens(block.batch, block.head, block.queries.clone());
        let key = self.key.tokens(block.key_batch, block.key_head, 0..block.keys);
        let (placement, scale) = (self.placement(block.keys), self.rules.scale as f32);
        set_product(scores, query, key.transposed(), placement);
        multiply_by(scores, scale);
        if let Some(bias) = self.bias {
            for (row, index) in scores.chunks_exact_mut(block.keys).zip(block.queries.clone()) {
                add_to(row, bias.row(block.batch, block.head, index, block.keys));
            }
        }
        let (seen, step) = match self.rules.causal {
            true => ((block.queries.start + 1 + keys) as isize - queries as isize, 1),
            false => (block.keys as isize, 0),
        };
        softmax_rows(scores, block.keys, seen, step);
    }
}

/// Keys that a query sees under a causal mask: the last query sees all.
fn visible(query: usize, queries: usize, keys: usize) -> usize {
    (query + 1 + keys).saturating_sub(queries).min(keys)
}

/// Zeros for some rows.
fn clear(target: &mut [MaybeUninit<f32>], stride: usize, rows: usize, width: usize) {
    for row in target.chunks_mut(stride).take(rows) {
        for x in &mut row[..width] {
            x.write(0.0);
        }
    }
}

/// Zeros for all.
fn cleared(target: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    target.fill(MaybeUninit::new(0.0));
    // SAFETY: every number was written.
    unsafe { target.assume_init_mut() }
}
