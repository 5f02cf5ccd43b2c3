//! The memory allocator of every program here: a program that names this crate has it.
//!
//! A step of training allocates and frees hundreds of tensors of many megabytes. Given back to the system, each comes with
//! fresh pages the next time, and clearing those took a third of a step.

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    }
    // SAFETY: the function belongs to the allocator above, and stores a number in the table of its options.
    unsafe { mi_option_set_default(PURGE_DELAY, NEVER) };
}

#[cfg(test)]
mod tests {
    use std::ffi::{c_int, c_long};

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    #[test]
    fn freed_memory_is_kept_unless_the_environment_says_otherwise() {
        // SAFETY: the function reads a number out of the allocator's table of options.
        let delay = || unsafe { mi_option_get(15) };
        assert!(delay() >= 0, "memory is given back by default: {}", delay());
        super::keep_freed_memory();
        let given = std::env::var("MIMALLOC_PURGE_DELAY").ok();
        let expected = given.map_or(-1, |delay| delay.parse().expect("milliseconds"));
        assert_eq!(delay(), expected);
    }
}
