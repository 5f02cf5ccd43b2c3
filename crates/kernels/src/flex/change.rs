//! Element-wise maps, in place or to fresh memory: numbers that a kernel changes, where they lie or on their way to memory that
//! nothing was written to yet.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use super::simd::{across, prefetch, settled};

/// Numbers that are asked for ahead of their turn, so that computing need not wait for memory.
const AHEAD: usize = 512;

/// Numbers in a line of the cache.
pub(super) const LINE: usize = 16;

/// Numbers to be read in one place and written to another, which may be the same; in order, some at a time.
pub(crate) struct Change<'a> {
    source: *const f32,
    target: *mut f32,
    length: usize,
    /// So many were written.
    done: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> Change<'a> {
    /// In place.
    #[inline(always)]
    pub(crate) fn here(x: &'a mut [f32]) -> Self {
        Self {
            source: x.as_ptr(),
            target: x.as_mut_ptr(),
            length: x.len(),
            done: 0,
            lifetime: PhantomData,
        }
    }

    /// Into `target`, which is as long.
    #[inline(always)]
    pub(crate) fn copy(source: &'a [f32], target: &'a mut [MaybeUninit<f32>]) -> Self {
        assert_eq!(source.len(), target.len(), "a copy is as long as what is copied");
        Self {
            source: source.as_ptr(),
            target: target.as_mut_ptr().cast(),
            length: source.len(),
            done: 0,
            lifetime: PhantomData,
        }
    }

    /// How many were not written yet.
    #[inline(always)]
    pub(crate) fn left(&self) -> usize {
        self.length - self.done
    }

    /// The next numbers as they are before.
    #[inline(always)]
    pub(crate) fn next(&self, count: usize) -> &[f32] {
        assert!(count <= self.left(), "no more numbers than there are");
        // SAFETY: the constructor has borrowed `length` numbers, and nothing is written while this borrow lives.
        unsafe { std::slice::from_raw_parts(self.source.add(self.done), count) }
    }

    /// All of the target once it was written.
    #[inline(always)]
    pub(crate) fn finish(self) -> &'a mut [f32] {
        assert_eq!(self.done, self.length, "all numbers were changed");
        // SAFETY: the constructor has borrowed so many numbers, and all were written.
        unsafe { std::slice::from_raw_parts_mut(self.target, self.length) }
    }

    /// What `change` makes of it, which must be all of the target.
    pub(crate) fn run<T>(self, change: impl FnOnce(Self) -> (&'a mut [f32], T)) -> T {
        let (target, length) = (self.target, self.length);
        let (written, result) = change(self);
        assert!(
            ptr::eq(written.as_ptr(), target) && written.len() == length,
            "a change ends with all of its target"
        );
        result
    }

    /// `f(x, others)` for each number and those that stand beside it in slices of the same length.
    #[inline(always)]
    pub(crate) fn all<const N: usize>(
        mut self,
        others: [&[f32]; N],
        f: impl Fn(f32, [f32; N]) -> f32,
    ) -> &'a mut [f32] {
        self.some(self.left(), others, f);
        self.finish()
    }

    /// [`Self::all`] for the next numbers alone: the changed numbers and their sum.
    #[inline(always)]
    pub(crate) fn some<const N: usize>(
        &mut self,
        count: usize,
        others: [&[f32]; N],
        f: impl Fn(f32, [f32; N]) -> f32,
    ) -> (&mut [f32], f32) {
        assert!(count <= self.left(), "no more numbers than there are");
        for slice in 0..N {
            assert!(others[slice].len() >= count, "as many numbers stand beside");
        }
        // SAFETY: `done` is at most the length.
        let (source, target) = unsafe { (self.source.add(self.done), self.target.add(self.done)) };
        let whole = count / LINE * LINE;
        let mut sums = [0.0; LINE];
        for start in (0..whole).step_by(LINE) {
            prefetch(source.wrapping_add(start + AHEAD));
            prefetch(target.wrapping_add(start + AHEAD));
            // SAFETY: the block ends within the next numbers, and those beside are as many; it is read before it is
            // written.
            unsafe {
                let mut block = source.add(start).cast::<[f32; LINE]>().read();
                for lane in 0..LINE {
                    block[lane] = f(block[lane], beside(others, start + lane));
                    sums[lane] += block[lane];
                }
                target.add(start).cast::<[f32; LINE]>().write(block);
            }
        }
        let mut sum = across(settled(sums), |a, b| a + b);
        for index in whole..count {
            // SAFETY: as above.
            unsafe {
                let y = f(source.add(index).read(), beside(others, index));
                target.add(index).write(y);
                sum += y;
            }
        }
        self.done += count;
        // SAFETY: the blocks and the rest cover these numbers.
        (unsafe { std::slice::from_raw_parts_mut(target, count) }, sum)
    }
}

/// The numbers of each slice at one index.
///
/// # Safety
///
/// The slices must be longer than that.
#[inline(always)]
unsafe fn beside<const N: usize>(slices: [&[f32]; N], index: usize) -> [f32; N] {
    let mut numbers = [0.0; N];
    for slice in 0..N {
        // SAFETY: the caller promises that the slice has this element.
        numbers[slice] = unsafe { *slices[slice].get_unchecked(index) };
    }
    numbers
}
