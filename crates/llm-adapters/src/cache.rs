//! Keys and values of the tokens read so far.

use burn::tensor::{Int, Tensor};

/// Places added when a cache is full: it grows in steps, so that most tokens are written where there is room already.
const GROWTH: usize = 64;

/// Keys and values of one attention, `[rows, key heads, places, head width]` each. Places behind the text are unused.
pub(crate) struct LayerCache {
    pub(crate) key: Tensor<4>,
    pub(crate) value: Tensor<4>,
}

impl LayerCache {
    /// Writes `key` and `value` `[rows, key heads, 1, head width]` to place `at`, and gives all up to there.
    pub(crate) fn insert(&mut self, at: usize, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let put = |cache: &mut Tensor<4>, new: Tensor<4>| {
            let [rows, heads, places, width] = cache.dims();
            cache.inplace(|cache| {
                let cache = if at < places {
                    cache
                } else {
                    let room = Tensor::zeros([rows, heads, GROWTH, width], (&cache.device(), cache.dtype()));
                    Tensor::cat(vec![cache, room], 2)
                };
                cache.slice_assign([0..rows, 0..heads, at..at + 1, 0..width], new)
            });
            cache.clone().slice([0..rows, 0..heads, 0..at + 1, 0..width])
        };
        (put(&mut self.key, key), put(&mut self.value, value))
    }

    pub(crate) fn select(&mut self, parents: &Tensor<1, Int>) {
        for tensor in [&mut self.key, &mut self.value] {
            tensor.inplace(|tensor| tensor.select(0, parents.clone()));
        }
    }
}
