//! Mixed precision: in which format the operands of matrix products are.

use std::cell::Cell;

/// The precision of the operands of [`linear`](crate::linear), [`linear_cross_entropy`](crate::linear_cross_entropy) and
/// [`attention`](crate::attention), and of the products in their backward passes. Arguments and results keep their type, sums run in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// As the tensors are. Where tiles of bfloat16 are multiplied much faster (Intel's AMX), a large product takes each number
    /// as the sum of three and leaves out only what lies below single precision: its errors are no larger than those of
    /// sums of single products. What is infinite may become NaN there.
    #[default]
    F32,
    /// Rounded to bfloat16, to the nearest and ties to even: 8 bits of precision, the range of single precision. On devices
    /// without bfloat16, and on processors without a unit for it ([`multiplies_bf16`]), as the tensors are: rounding would cost
    /// time and precision there, and win nothing.
    Bf16,
}

/// Whether this processor has a unit for products in bfloat16, and `BLIP2_KERNELS` allows it.
pub fn multiplies_bf16() -> bool {
    crate::flex::bf16::multiplies()
}

thread_local! {
    static PRODUCTS: Cell<Products> = const { Cell::new(Products::F32) };
}

/// Runs `run` with the products of the calling thread in the given precision.
///
/// The backward pass of what is computed in `run` keeps that precision, wherever it runs. Scopes nest.
pub fn with_products<T>(products: Products, run: impl FnOnce() -> T) -> T {
    struct Restore(Products);
    impl Drop for Restore {
        fn drop(&mut self) {
            PRODUCTS.set(self.0);
            #[cfg(feature = "cuda")]
            if self.0 == Products::F32 {
                crate::gpu::rounded_weights::forget();
            }
        }
    }
    let _restore = Restore(PRODUCTS.replace(products));
    run()
}

/// The precision that the calling thread is in.
pub(crate) fn products() -> Products {
    PRODUCTS.get()
}
