//! Memory of packed weights: pages that the system clears when they are first written, by whichever thread that is.

use std::alloc::{Layout, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// What may be any bits, all zeros among them.
///
/// # Safety
///
/// Every pattern of bits must be a value.
pub(super) unsafe trait Plain: Copy {}

/// A fixed number of values, all bits zero at first, in memory that goes back to the system with them.
pub(super) struct Pages<T> {
    map: MmapMut,
    count: usize,
    values: PhantomData<T>,
}

impl<T: Plain> Pages<T> {
    pub(super) fn zeros(count: usize) -> Self {
        let bytes = count.saturating_mul(size_of::<T>());
        let Ok(map) = MmapMut::map_anon(bytes.max(1)) else {
            handle_alloc_error(Layout::new::<T>());
        };
        // Fewer, larger pages: a product reads all of a weight. The system may decline.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Self {
            map,
            count,
            values: PhantomData,
        }
    }
}

impl<T: Plain> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        const { assert!(align_of::<T>() <= 4096, "a page begins at a multiple of its size") };
        // SAFETY: the map holds as many values, of whatever bits, and begins with a page.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.count) }
    }
}

impl<T: Plain> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above; the map is borrowed as long as the values.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.count) }
    }
}
