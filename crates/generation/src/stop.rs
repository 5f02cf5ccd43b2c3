//! A wish, from whatever thread, that something be given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised to end what was begun with it: texts end between two tokens. All copies are one flag, and it stays raised.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks for the end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Settings that write the same text are equal, whoever may stop it.
impl PartialEq for StopFlag {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
