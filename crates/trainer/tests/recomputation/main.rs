//! Blocks that the backward pass computes again: what they learn, and what memory that spares. Alone in a process, one test at a time:
//! the device's generator belongs to all, and memory is counted for all.

mod equality;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../../../objectives/tests/main/gradients.rs"]
mod gradients;
mod memory;
#[allow(dead_code, reason = "other tests need more of it")]
#[path = "../../../qformer/tests/main/tiny.rs"]
mod tiny;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Until it is dropped, no other test runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
