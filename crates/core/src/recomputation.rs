//! Which blocks are computed again in the backward pass, so that memory holds what goes into them instead of all that they compute
//! (activation checkpointing; Chen et al., 2016).

use std::cell::Cell;

use blip2_kernels::{Tensors, recompute};
use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// A part of BLIP-2 that is built of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blocks {
    /// Of the image encoder, where it is trained.
    Vision,
    /// Of the Q-Former.
    QFormer,
    /// Of the language model, which gradients pass on their way to the soft prompt.
    Language,
}

thread_local! {
    static RECOMPUTED: Cell<[bool; 3]> = const { Cell::new([false; 3]) };
}

/// Runs `run`, in which the calling thread computes the blocks of `parts` to be computed again in the backward pass
/// ([`blip2_kernels::recompute`]), wherever that runs. Scopes nest, and the innermost one counts.
pub fn with_recomputed<T>(parts: &[Blocks], run: impl FnOnce() -> T) -> T {
    struct Restore([bool; 3]);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECOMPUTED.set(self.0);
        }
    }
    let asked = [Blocks::Vision, Blocks::QFormer, Blocks::Language].map(|part| parts.contains(&part));
    let _restore = Restore(RECOMPUTED.replace(asked));
    run()
}

impl Blocks {
    /// As recipes call them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::QFormer => "qformer",
            Self::Language => "language",
        }
    }

    /// Whether the calling thread is in a scope that asks for their recomputation.
    pub fn are_recomputed(self) -> bool {
        RECOMPUTED.get()[self as usize]
    }

    /// What `block`, whose parameters are those of `module`, makes of `x`: to be computed again where it is asked for. The block must
    /// not read anything else that is learned.
    pub fn run<M: Module + 'static, const D: usize>(
        self,
        module: &M,
        x: Tensor<D>,
        block: impl Fn(&M, Tensor<D>) -> Tensor<D> + Send + 'static,
    ) -> Tensor<D> {
        if !self.are_recomputed() {
            return block(module, x);
        }
        let block = move |module: &M, mut x: Tensors| Tensors::default().with(block(module, x.take()));
        recompute(module, Tensors::default().with(x), block).take()
    }
}
