//! Concatenation and split along tokens: sequences cut in two and put together, one copy each.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::storage::{filled, tensor, values};

/// Batch, tokens and width.
pub(crate) fn sizes(x: &FlexTensor) -> [usize; 3] {
    x.layout().shape().dims()
}

/// Some tokens of each sequence of `x` `[batch, tokens, width]`, which is dense.
pub(crate) fn part(x: &FlexTensor, tokens: Range<usize>) -> FlexTensor {
    let [batch, all, width] = sizes(x);
    let (whole, length) = (all * width, tokens.len() * width);
    let values = values(x);
    let fill = |target: &mut [MaybeUninit<f32>]| {
        let sequences = target.par_chunks_mut(length.max(1)).enumerate();
        sequences.for_each(|(index, target)| {
            let start = index * whole + tokens.start * width;
            target.write_copy_of_slice(&values[start..start + length]);
        });
    };
    // SAFETY: the target is made of one such part for each sequence, and each is written.
    let part = unsafe { filled(batch * length, fill) };
    tensor(part, [batch, tokens.len(), width])
}

/// The sequences of both, those of `first` in front; both dense.
pub(crate) fn join(first: &FlexTensor, second: &FlexTensor) -> FlexTensor {
    let ([batch, before, width], [_, behind, _]) = (sizes(first), sizes(second));
    let (first, second) = (values(first), values(second));
    let (before_length, length) = (before * width, (before + behind) * width);
    let fill = |target: &mut [MaybeUninit<f32>]| {
        let sequences = target.par_chunks_mut(length.max(1)).enumerate();
        sequences.for_each(|(index, target)| {
            let (front, back) = target.split_at_mut(before_length);
            front.write_copy_of_slice(&first[index * front.len()..][..front.len()]);
            back.write_copy_of_slice(&second[index * back.len()..][..back.len()]);
        });
    };
    // SAFETY: the target is made of one such pair for each sequence, and each is written.
    let joined = unsafe { filled(batch * length, fill) };
    tensor(joined, [batch, before + behind, width])
}
