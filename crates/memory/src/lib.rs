//! The memory allocator of every program here: a program that names this crate has it.
//!
#![doc = include_str!("../README.md")]
//!
//! A step of training allocates and frees hundreds of tensors of many megabytes. Given back to the system, each comes with
//! fresh pages the next time, and clearing those took a third of a step.

mod pool;

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering};

use mimalloc::MiMalloc;
use pool::{PAGE, Pool};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator {
    pool: Pool::new(),
    keeps: AtomicBool::new(false),
};

/// Blocks of this size and more come from the pool while freed memory is kept: mimalloc needs an eighth more for them.
const LARGE: usize = 1 << 20;

struct Allocator {
    pool: Pool,
    keeps: AtomicBool,
}

impl Allocator {
    fn pools(&self, layout: Layout) -> bool {
        layout.size() >= LARGE && layout.align() <= PAGE && self.keeps.load(Ordering::Relaxed)
    }
}

// SAFETY: mimalloc and the pool keep the promises of an allocator, and each block goes back to where it came from.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.pools(layout) {
            return self.pool.take(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.pools(layout) {
            let block = self.pool.take(layout.size());
            if !block.is_null() {
                // SAFETY: the block has that size.
                unsafe { block.write_bytes(0, layout.size()) };
            }
            return block;
        }
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is one of a layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !self.pools(layout) && !self.pools(wanted) {
            // SAFETY: as the caller promises.
            return unsafe { MiMalloc.realloc(block, layout, size) };
        }
        // SAFETY: as the caller promises; both blocks hold what is copied, and are not the same.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.pools(layout) && self.pool.owns(block) {
            return self.pool.give(block, layout.size());
        }
        // SAFETY: as the caller promises; the pool has no block of this kind, or not this one.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

/// Keeps freed memory for the next tensor until the program ends. Call it before training: a program that only asks a model
/// needs the memory of its loading but once.
///
/// `MIMALLOC_PURGE_DELAY` in the environment, in milliseconds, gives memory back after that time instead.
pub fn keep_freed_memory() {
    /// `mi_option_purge_delay` of `mimalloc.h`.
    const PURGE_DELAY: c_int = 15;
    /// No purging at all.
    const NEVER: c_long = -1;

    unsafe extern "C" {
        /// Sets an option that the environment has not set.
        fn mi_option_set_default(option: c_int, value: c_long);
        fn mi_option_get(option: c_int) -> c_long;
    }
    // SAFETY: both functions belong to mimalloc, and write and read a number in the table of its options.
    let delay = unsafe {
        mi_option_set_default(PURGE_DELAY, NEVER);
        mi_option_get(PURGE_DELAY)
    };
    ALLOCATOR.keeps.store(delay == NEVER, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::ffi::{c_int, c_long};

    use super::{ALLOCATOR, LARGE};

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    #[test]
    fn freed_memory_is_kept_unless_the_environment_says_otherwise() {
        // SAFETY: the function reads a number out of the allocator's table of options.
        let delay = || unsafe { mi_option_get(15) };
        assert!(delay() >= 0, "memory is given back by default: {}", delay());
        let pooled = |bytes: &[u8]| ALLOCATOR.pool.owns(bytes.as_ptr().cast_mut());
        let early = vec![1u8; 2 * LARGE];
        super::keep_freed_memory();
        let given = std::env::var("MIMALLOC_PURGE_DELAY").ok();
        let expected = given.map_or(-1, |delay| delay.parse().expect("milliseconds"));
        assert_eq!(delay(), expected);

        let mut late = early.clone();
        assert_eq!(pooled(&late), expected == -1);
        assert!(!pooled(&early) && !pooled(&[0]));
        late.extend_from_slice(&early);
        late.shrink_to_fit();
        assert!(late.iter().all(|byte| *byte == 1), "moved with what it holds");
        late.truncate(8);
        late.shrink_to_fit();
        assert_eq!((late.as_slice(), pooled(&late)), (&[1; 8][..], false));
        drop((early, late));
        assert_eq!(vec![0u8; 4 * LARGE].iter().max(), Some(&0), "cleared where asked");
    }
}
