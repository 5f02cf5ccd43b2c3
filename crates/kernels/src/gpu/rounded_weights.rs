//! Weights in the 16 bits that they are multiplied in: rounded once for all layers and passes of a scope of
//! [`with_products`](crate::with_products), where a weight that several passes share would be rounded for each.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use super::cuda::operations::OnCuda;
use super::primitive;

/// What tells tensors from each other: their memory, where they begin in it, their shape, how they lie there, and what they are rounded to.
type Name = (usize, Option<u64>, [usize; 2], Vec<usize>, DType);

thread_local! {
    /// By the memory of the tensors that they were rounded from. Those are held as well: no other gets that memory as long.
    static ROUNDED: RefCell<HashMap<Name, [Tensor<2>; 2]>> = RefCell::default();
}

/// `weight`, which is not on a graph, in the 16 bits of `operands`.
pub(crate) fn rounded(weight: Tensor<2>, operands: DType) -> Tensor<2> {
    if weight.dtype() == operands {
        return weight;
    }
    let make = || {
        let rounded = Dispatch::rounded(weight.clone().into_dispatch(), operands);
        [weight.clone(), Tensor::from_dispatch(rounded)]
    };
    let given = primitive(weight.clone());
    let memory = std::ptr::from_ref(given.handle.memory.descriptor()).addr();
    let strides = given.meta.strides().to_vec();
    let name = (
        memory,
        given.handle.offset_start,
        weight.dims(),
        strides,
        operands,
    );
    ROUNDED.with_borrow_mut(|all| all.entry(name).or_insert_with(make)[1].clone())
}

/// At the end of a scope.
pub(crate) fn forget() {
    // Tensors may ask for this when they are dropped: not while the table is borrowed.
    let all = ROUNDED.take();
    drop(all);
}
