//! Concatenation and split along tokens: sequences cut in two and put together.

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::extension::{Kernels, facts, takes};

/// The first `count` tokens of `x` `[batch, tokens, width]`, and the others.
pub fn split_tokens(x: Tensor<3>, count: usize) -> (Tensor<3>, Tensor<3>) {
    let [_, tokens, _] = x.dims();
    assert!(
        (1..tokens).contains(&count),
        "split_tokens: {count} tokens of x {:?} must leave some for either part",
        x.dims()
    );
    if !takes(&[facts(&x)]) {
        let first = x.clone().narrow(1, 0, count);
        return (first, x.narrow(1, count, tokens - count));
    }
    let (first, second) = Dispatch::split_tokens(x.into_dispatch(), count);
    (Tensor::from_dispatch(first), Tensor::from_dispatch(second))
}

/// The tokens of `first` `[batch, tokens, width]` with those of `second` `[batch, others, width]` behind them.
pub fn join_tokens(first: Tensor<3>, second: Tensor<3>) -> Tensor<3> {
    let ([batch, _, width], [other_batch, _, other_width]) = (first.dims(), second.dims());
    assert_eq!(
        [batch, width],
        [other_batch, other_width],
        "join_tokens: both must have as many sequences, of one width"
    );
    if !takes(&[facts(&first), facts(&second)]) {
        return Tensor::cat(vec![first, second], 1);
    }
    Tensor::from_dispatch(Dispatch::join_tokens(
        first.into_dispatch(),
        second.into_dispatch(),
    ))
}
