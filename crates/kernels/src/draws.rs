//! What is drawn at random while a model learns: the masks of dropout and of drop path. A block that is computed again is given
//! the masks that it drew the first time ([`crate::recompute`]).

use std::cell::RefCell;
use std::collections::VecDeque;

use burn::tensor::{Bool, Device, DispatchTensor, Distribution, Tensor};

/// Where masks come from.
#[derive(Default)]
enum Source {
    /// The device's generator.
    #[default]
    Drawn,
    /// Likewise, and they are kept: a byte a number.
    Kept(Vec<DispatchTensor>),
    /// What was kept, in the same order.
    Given(VecDeque<DispatchTensor>),
}

thread_local! {
    static SOURCE: RefCell<Source> = const { RefCell::new(Source::Drawn) };
}

/// Whether what is computed on `device` is learned from, so that dropout acts: where there is autodiff, and in a block that will be
/// computed again with it.
pub fn learns(device: &Device) -> bool {
    device.is_autodiff() || SOURCE.with_borrow(|source| matches!(source, Source::Kept(_)))
}

/// Ones where something is kept, with this probability, and zeros where it is dropped.
///
/// # Panics
/// Where a block that is computed again draws more masks than the first time.
pub fn random_mask<const D: usize>(shape: [usize; D], kept: f64, device: &Device) -> Tensor<D> {
    let draw = || Tensor::<D>::random(shape, Distribution::Bernoulli(kept), device);
    SOURCE.with_borrow_mut(|source| match source {
        Source::Drawn => draw(),
        Source::Kept(masks) => {
            let mask = draw();
            masks.push(mask.clone().bool().into_dispatch());
            mask
        }
        Source::Given(masks) => {
            let mask = masks.pop_front();
            let mask =
                mask.expect("random_mask: a block that is computed again draws what it drew the first time");
            Tensor::<D, Bool>::from_dispatch(mask).float()
        }
    })
}

/// Runs `run`, and gives the masks that it drew as well.
pub(crate) fn keeping<T>(run: impl FnOnce() -> T) -> (T, Vec<DispatchTensor>) {
    let (result, source) = within(Source::Kept(Vec::new()), run);
    match source {
        Source::Kept(masks) => (result, masks),
        Source::Drawn | Source::Given(_) => unreachable!("a scope ends with the source that it began with"),
    }
}

/// Runs `run` with `masks` in the place of those that it would draw.
pub(crate) fn giving<T>(masks: Vec<DispatchTensor>, run: impl FnOnce() -> T) -> T {
    within(Source::Given(masks.into()), run).0
}

fn within<T>(source: Source, run: impl FnOnce() -> T) -> (T, Source) {
    struct Restore(Source);
    impl Drop for Restore {
        fn drop(&mut self) {
            SOURCE.set(std::mem::take(&mut self.0));
        }
    }
    let restore = Restore(SOURCE.replace(source));
    let result = run();
    let source = SOURCE.take();
    drop(restore);
    (result, source)
}
