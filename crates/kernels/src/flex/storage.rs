//! From tensors to slices and back, with as few copies and fresh pages as can be.

use std::mem::MaybeUninit;

use burn::backend::DType;
use burn::tensor::{Bytes, Shape};
use burn_flex::{FlexTensor, Layout};
use rayon::prelude::*;

use super::change::Change;

/// Elements that one task works on: small enough for the first cache, large enough to be worth a task.
const PIECE: usize = 8192;

/// The tensor with its elements in order and without gaps.
pub(crate) fn dense(x: FlexTensor) -> FlexTensor {
    if x.is_contiguous() { x } else { x.to_contiguous() }
}

/// The tensor with its elements in order and nothing else in its memory, ready to be changed there.
pub(crate) fn solid(x: FlexTensor) -> FlexTensor {
    if is_solid(&x) {
        x
    } else {
        tensor(values(&dense(x.clone())).to_vec(), x.layout().shape().clone())
    }
}

fn is_solid(x: &FlexTensor) -> bool {
    let bytes = x.layout().num_elements() * size_of::<f32>();
    x.is_contiguous() && x.layout().start_offset() == 0 && x.bytes().len() == bytes
}

/// The elements of a dense tensor.
pub(crate) fn values(x: &FlexTensor) -> &[f32] {
    x.as_slice()
        .expect("kernels read single-precision tensors that were made dense")
}

/// A tensor of `shape` with the elements `values`.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    let layout = Layout::contiguous(shape.into());
    assert_eq!(
        values.len(),
        layout.num_elements(),
        "as many values as the shape has elements"
    );
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// Width of the last dimension.
pub(crate) fn width(x: &FlexTensor) -> usize {
    x.layout().shape().as_slice().last().copied().unwrap_or(1)
}

/// `length` numbers that `fill` writes, without clearing the memory before.
///
/// # Safety
///
/// `fill` must have written every number when it returns.
pub(crate) unsafe fn filled(length: usize, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    fill(&mut values.spare_capacity_mut()[..length]);
    // SAFETY: the capacity is at least `length`, and the caller promises that all of it is written.
    unsafe { values.set_len(length) };
    values
}

/// Zeros, cleared by all threads.
pub(crate) fn zeros(shape: impl Into<Shape>) -> FlexTensor {
    let shape = shape.into();
    let clear = |target: &mut [MaybeUninit<f32>]| {
        target.par_chunks_mut(piece(1)).for_each(|piece| {
            piece.fill(MaybeUninit::new(0.0));
        });
    };
    // SAFETY: every number is written.
    tensor(unsafe { filled(shape.num_elements(), clear) }, shape)
}

/// What `change` makes of all rows of `x`, several whole rows at a time: in place when nobody else holds `x`, in new
/// memory otherwise. `change` gets the rows and the index of their first element.
pub(crate) fn change_rows(
    x: FlexTensor,
    row_width: usize,
    change: impl for<'a> Fn(Change<'a>, usize) -> &'a mut [f32] + Sync,
) -> FlexTensor {
    change_pieces(x, piece(row_width), |rows, start| (change(rows, start), ())).0
}

/// [`change_rows`] in pieces of so many elements, and what `change` returns beside each piece, in order.
pub(crate) fn change_pieces<T: Send>(
    x: FlexTensor,
    piece: usize,
    change: impl for<'a> Fn(Change<'a>, usize) -> (&'a mut [f32], T) + Sync,
) -> (FlexTensor, Vec<T>) {
    let mut x = dense(x);
    let run = |index: usize, rows: Change| rows.run(|rows| change(rows, index * piece));
    if is_solid(&x)
        && let Some(all) = x.try_storage_mut::<f32>()
    {
        let pieces = all.par_chunks_mut(piece).enumerate();
        let results = pieces
            .map(|(index, rows)| run(index, Change::here(rows)))
            .collect();
        return (x, results);
    }
    let source = values(&x);
    let mut results = Vec::new();
    let fill = |target: &mut [MaybeUninit<f32>]| {
        let pieces = source
            .par_chunks(piece)
            .zip(target.par_chunks_mut(piece))
            .enumerate();
        results.par_extend(pieces.map(|(index, (source, target))| run(index, Change::copy(source, target))));
    };
    // SAFETY: `Change::run` sees to it that all of each piece is written, and the pieces cover the target.
    let changed = unsafe { filled(source.len(), fill) };
    (tensor(changed, x.layout().shape().clone()), results)
}

/// Elements in a task's share of rows that are `row_width` wide.
pub(crate) fn piece(row_width: usize) -> usize {
    (PIECE / row_width.max(1)).max(1) * row_width.max(1)
}

/// Elements in a task's share of rows when each task leaves a row of its own behind, a sum: then a few rows are too little.
pub(crate) fn piece_with_sum(row_width: usize) -> usize {
    (4 * piece(row_width)).max(32 * row_width).max(1)
}
