//! How much a reader takes from the heap: the allocator of this binary counts for each thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What no refusal may exceed, in bytes.
const MOST: usize = 64 << 20;

#[global_allocator]
static METER: Meter = Meter;

struct Meter;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call is handed on to the system's allocator unchanged; the counters do not allocate.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What `work` returns, once it is certain that it held at most 64 MB more than before at any time.
pub(crate) fn frugal<Outcome>(what: &str, work: impl FnOnce() -> Outcome) -> Outcome {
    let before = HELD.get();
    PEAK.set(before);
    let outcome = work();
    let taken = PEAK.get() - before;
    assert!(taken <= MOST as isize, "{what}: {taken} bytes were taken");
    outcome
}

#[test]
fn the_meter_sees_what_is_taken() {
    let taken = std::panic::catch_unwind(|| frugal("much", || vec![1u8; MOST + 1].len()));
    assert!(taken.is_err());
    assert_eq!(frugal("little", || vec![1u8; MOST / 2].len()), MOST / 2);
}
