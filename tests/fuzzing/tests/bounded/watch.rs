//! Ends the process where a reader does not come back: a thread cannot be ended from outside.

use std::path::Path;
use std::process::abort;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

/// Seconds that one input may take, on a machine that has other things to do.
const PATIENCE: u64 = 60;
/// What stands for no input.
const NOTHING: u64 = u64::MAX;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A watch over one reader, for as long as it lives.
pub(crate) struct Watch {
    /// The second in which the input under way was begun.
    begun: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Over the reader `name`, whose input lies in `kept`.
    pub(crate) fn over(name: &str, kept: &Path) -> Self {
        let this = Self {
            begun: Arc::new(AtomicU64::new(NOTHING)),
            over: Arc::default(),
        };
        let (name, kept) = (name.to_owned(), kept.to_owned());
        let (begun, over) = (this.begun.clone(), this.over.clone());
        thread::spawn(move || watch(&name, &kept, &begun, &over));
        this
    }

    pub(crate) fn begin(&self) {
        self.begun.store(START.elapsed().as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.begun.store(NOTHING, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

#[expect(clippy::print_stderr, reason = "the process ends: nobody else can say why")]
fn watch(name: &str, kept: &Path, begun: &AtomicU64, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(200));
        let since = begun.load(Ordering::Relaxed);
        if since != NOTHING && START.elapsed().as_secs().saturating_sub(since) > PATIENCE {
            eprintln!("{name} has not come back for {PATIENCE} s: {}", kept.display());
            abort();
        }
    }
}
