//! The keys and values of texts that are written, on NVIDIA's GPUs: token by token in one piece of memory that is written in place, so
//! that a token is one operation that writes and one that reads, however many were written before it.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::cuda::attention_in_slots::serves as has_kernels;
use super::cuda::operations::OnCuda;
use crate::attention::PartRead;

/// Slots that are made at first.
const AT_LEAST: usize = 256;

/// Keys and values of the parts of a cache.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// `[slots * heads * width]`, once there are some: in one dimension, since burn may leave gaps between rows. Nobody else holds them, for
    /// they are written in place.
    keys_and_values: Option<[Tensor<1>; 2]>,
    /// Of a slot.
    heads: usize,
    parts: Vec<Place>,
}

/// Where the tokens of a part lie, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    slots: Range<usize>,
    /// Of a row.
    tokens: usize,
}

/// Whether keys as `key` `[rows, heads, tokens, width]` are kept so.
pub(crate) fn serves(key: &Tensor<4>) -> bool {
    !key.is_autodiff() && !key.dims().contains(&0) && has_kernels(key)
}

impl Slots {
    /// Adds a part, `[rows, heads, tokens, width]` each.
    pub(crate) fn add(&mut self, key: Tensor<4>, value: Tensor<4>) {
        let [rows, heads, tokens, width] = key.dims();
        let (slots, size) = (self.room(rows * tokens), heads * width);
        let free = |count: usize| {
            let free = || Tensor::<1>::empty([count * size], (&key.device(), key.dtype()));
            [free(), free()]
        };
        // Given away and taken back: they are written where they lie.
        let keys_and_values = match self.keys_and_values.take() {
            None => free(slots.end.max(AT_LEAST)),
            Some(there) if there[0].dims()[0] >= slots.end * size => there,
            Some([keys, values]) => {
                let count = keys.dims()[0] / size;
                let [more_keys, more_values] = free(slots.end.max(2 * count) - count);
                [vec![keys, more_keys], vec![values, more_values]].map(|parts| Tensor::cat(parts, 0))
            }
        };
        let [keys, values] = keys_and_values.map(Tensor::into_dispatch);
        let (key, value) = (key.into_dispatch(), value.into_dispatch());
        let (keys, values) = Dispatch::with_slots(keys, values, key, value, slots.start);
        self.keys_and_values = Some([Tensor::from_dispatch(keys), Tensor::from_dispatch(values)]);
        self.heads = heads;
        self.parts.push(Place { slots, tokens });
    }

    /// The first so many slots in a row that no part has: between parts, or behind the last, whether they are there or not.
    fn room(&self, count: usize) -> Range<usize> {
        let mut taken: Vec<&Range<usize>> = self.parts.iter().map(|part| &part.slots).collect();
        taken.sort_by_key(|slots| slots.start);
        let mut first = 0;
        for slots in taken {
            if slots.start - first >= count {
                break;
            }
            first = slots.end;
        }
        first..first + count
    }

    /// Drops the parts that are not `kept`.
    pub(crate) fn keep(&mut self, kept: &[bool]) {
        let mut kept = kept.iter();
        self.parts.retain(|_| kept.next().is_none_or(|kept| *kept));
        if self.parts.is_empty() {
            self.keys_and_values = None;
        }
    }

    /// Where the parts lie.
    pub(crate) fn places(&self) -> &[Place] {
        &self.parts
    }

    /// The slots that each row reads, `[rows * (1 + most)]`: of each row how many, and which.
    pub(crate) fn table(&self, reads: &[Arc<[PartRead]>], device: &Device) -> Tensor<1, Int> {
        let rows = reads.first().map_or(0, |reads| reads.len());
        let of_row = |row: usize| -> Vec<usize> {
            let parts = self.parts.iter().zip(reads);
            parts
                .flat_map(|(place, reads)| {
                    let PartRead { row, keys } = &reads[row];
                    let first = place.slots.start + row * place.tokens;
                    first + keys.start..first + keys.end
                })
                .collect()
        };
        let slots: Vec<Vec<usize>> = (0..rows).map(of_row).collect();
        let most = slots.iter().map(Vec::len).max().unwrap_or(0);
        let numbers: Vec<i32> = slots
            .iter()
            .flat_map(|slots| {
                let unread = std::iter::repeat_n(0, most - slots.len());
                std::iter::once(slots.len())
                    .chain(slots.iter().copied())
                    .chain(unread)
            })
            .map(|number| i32::try_from(number).expect("fewer slots than memory has numbers"))
            .collect();
        let data = TensorData::new(numbers, [rows * (1 + most)]);
        Tensor::from_data(data, (device, DType::I32))
    }

    /// `query` `[rows, heads, 1, width]` to the slots of a [`Slots::table`]: `[rows, heads, 1, width]`.
    pub(crate) fn attention(
        &self,
        query: Tensor<4>,
        table: &Tensor<1, Int>,
        bias: Option<Tensor<4>>,
        scale: f64,
    ) -> Tensor<4> {
        let Some(keys_and_values) = self.keys_and_values.clone() else {
            return query.zeros_like();
        };
        let (query, [keys, values]) = (query.into_dispatch(), keys_and_values.map(Tensor::into_dispatch));
        let table = table.clone().into_dispatch();
        let result = match bias {
            Some(bias) => {
                let bias = bias.cast(DType::F32).into_dispatch();
                Dispatch::attention_in_slots_with_bias(query, keys, values, table, bias, self.heads, scale)
            }
            None => Dispatch::attention_in_slots(query, keys, values, table, self.heads, scale),
        };
        Tensor::<4>::from_dispatch(result).swap_dims(1, 2)
    }
}
