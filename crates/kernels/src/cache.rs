//! Keys and values of the tokens that an attention read so far.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::attention::{KeyPart, PartRead, attention_in_parts};
#[cfg(feature = "cuda")]
use crate::gpu::slots::{self, Place, Slots};

/// Keys and values of one attention, part by part: a beginning, or the tokens that all rows wrote at a time. They stay where they were
/// written: as they came, or, on NVIDIA's GPUs, token by token in one piece of memory.
#[derive(Debug, Default)]
pub struct KeyValueCache {
    /// `[rows, key heads, tokens, width]` each.
    parts: Vec<[Tensor<4>; 2]>,
    #[cfg(feature = "cuda")]
    slots: Option<Slots>,
}

/// What each row of a query reads of each part of a [`KeyValueCache`]; the same for all caches of a model that got the same parts.
#[derive(Debug)]
pub struct CacheReads {
    parts: Vec<Arc<[PartRead]>>,
    /// Made for the first cache that asks for it.
    #[cfg(feature = "cuda")]
    table: std::sync::OnceLock<(Vec<Place>, Tensor<1, burn::tensor::Int>)>,
}

impl From<Vec<Arc<[PartRead]>>> for CacheReads {
    fn from(parts: Vec<Arc<[PartRead]>>) -> Self {
        Self {
            parts,
            #[cfg(feature = "cuda")]
            table: std::sync::OnceLock::new(),
        }
    }
}

impl KeyValueCache {
    /// Adds a part, `[rows, key heads, tokens, width]` each: of as many heads, as wide, and on the same device as all others.
    pub fn add(&mut self, key: Tensor<4>, value: Tensor<4>) {
        #[cfg(feature = "cuda")]
        match &mut self.slots {
            Some(slots) => return slots.add(key, value),
            None if self.parts.is_empty() && slots::serves(&key) => {
                return self.slots.insert(Slots::default()).add(key, value);
            }
            None => {}
        }
        self.parts.push([key, value]);
    }

    /// Drops the parts that are not `kept`, which says so of each.
    pub fn keep(&mut self, kept: &[bool]) {
        #[cfg(feature = "cuda")]
        if let Some(slots) = &mut self.slots {
            slots.keep(kept);
        }
        let mut kept = kept.iter();
        self.parts.retain(|_| kept.next().is_none_or(|kept| *kept));
    }

    /// [`attention_in_parts`] of `query` `[rows, heads, 1, width]` to what its rows read of all parts.
    pub fn attention(
        &self,
        query: Tensor<4>,
        reads: &CacheReads,
        bias: Option<Tensor<4>>,
        scale: Option<f64>,
    ) -> Tensor<4> {
        #[cfg(feature = "cuda")]
        if let Some(slots) = &self.slots {
            let scale = scale.unwrap_or_else(|| (query.dims()[3] as f64).sqrt().recip());
            let table = || slots.table(&reads.parts, &query.device());
            let (places, shared) = reads.table.get_or_init(|| (slots.places().to_vec(), table()));
            let own = (places != slots.places()).then(table);
            return slots.attention(query, own.as_ref().unwrap_or(shared), bias, scale);
        }
        let part = |([key, value], reads): (&[Tensor<4>; 2], &Arc<[PartRead]>)| KeyPart {
            key: key.clone(),
            value: value.clone(),
            reads: reads.clone(),
        };
        let parts = self.parts.iter().zip(&reads.parts).map(part).collect();
        attention_in_parts(query, parts, bias, scale)
    }
}
