//! Embedding lookup: rows of a table, and where their gradients go (scatter-add).

use std::mem::MaybeUninit;

use burn_flex::FlexTensor;

use super::rows::add_to;
use super::storage::{filled, solid, tensor, values, width, zeros};

/// Which rows were looked up, in a table of how many.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    ids: Vec<usize>,
    entries: usize,
}

impl Rows {
    /// Reads the ids; they must lie in `0..entries`.
    pub(crate) fn new(ids: FlexTensor, entries: usize) -> Self {
        let read = |id: i64| match usize::try_from(id) {
            Ok(id) if id < entries => id,
            _ => panic!("embedding: id {id} is none of the {entries} entries"),
        };
        Self {
            ids: ids.into_data().iter::<i64>().map(read).collect(),
            entries,
        }
    }

    /// The rows of `weight`; dense.
    pub(crate) fn of(&self, weight: &FlexTensor) -> FlexTensor {
        let (source, width) = (values(weight), width(weight));
        let fill = |target: &mut [MaybeUninit<f32>]| {
            for (target, id) in target.chunks_exact_mut(width.max(1)).zip(&self.ids) {
                target.write_copy_of_slice(&source[id * width..][..width]);
            }
        };
        // SAFETY: the target is made of as many rows as there are ids, and each is written.
        let rows = unsafe { filled(self.ids.len() * width, fill) };
        tensor(rows, [self.ids.len(), width])
    }

    /// The gradient of the table from that of its rows, added to `table` if there is one; dense. Rows of one id are added
    /// in their order.
    pub(crate) fn gradient(&self, rows: &FlexTensor, table: Option<FlexTensor>) -> FlexTensor {
        let width = width(rows);
        let mut table = table.map_or_else(|| zeros([self.entries, width]), solid);
        let target = table.storage_mut::<f32>();
        for (row, id) in values(rows).chunks_exact(width.max(1)).zip(&self.ids) {
            add_to(&mut target[id * width..][..width], row);
        }
        table
    }
}
