//! Threads that do numbered jobs ahead of their use, while the results are taken in order.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::prepare::Prepared;

type Outcome = thread::Result<Prepared>;

/// The threads, until this is dropped.
pub(super) struct Workers {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
}

/// Where jobs are given out and results are left.
struct Desk {
    state: Mutex<State>,
    /// A result was left.
    done: Condvar,
    /// A job may be begun, or all is over.
    room: Condvar,
}

struct State {
    /// The job that is begun next.
    next: u64,
    /// The job that is taken next.
    taken: u64,
    /// How many jobs may be begun and not taken.
    ahead: u64,
    results: BTreeMap<u64, Outcome>,
    is_over: bool,
}

impl Workers {
    /// Lets `threads` threads, at least one, do `work` on the jobs 0, 1, 2, ..., at most `ahead` of which wait or are in work.
    pub(super) fn start(
        threads: usize,
        ahead: u64,
        work: impl Fn(u64) -> Prepared + Send + Sync + 'static,
    ) -> Self {
        let desk = Arc::new(Desk {
            state: Mutex::new(State {
                next: 0,
                taken: 0,
                ahead: ahead.max(1),
                results: BTreeMap::new(),
                is_over: false,
            }),
            done: Condvar::new(),
            room: Condvar::new(),
        });
        let work = Arc::new(work);
        let threads = (0..threads.max(1)).map(|_| {
            let (desk, work) = (desk.clone(), work.clone());
            thread::spawn(move || {
                while let Some(job) = desk.begin() {
                    let outcome = catch_unwind(AssertUnwindSafe(|| work(job)));
                    desk.leave(job, outcome);
                }
            })
        });
        Self {
            threads: threads.collect(),
            desk,
        }
    }

    /// The result of the next job.
    ///
    /// # Panics
    /// Where the work on it did.
    pub(super) fn next(&mut self) -> Prepared {
        self.desk.take().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.desk.state().is_over = true;
        self.desk.room.notify_all();
        for thread in self.threads.drain(..) {
            // It does not panic, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Desk {
    /// No holder of the lock can panic halfway.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, once there is room for its result; nothing when all is over.
    fn begin(&self) -> Option<u64> {
        let is_full = |state: &mut State| !state.is_over && state.next - state.taken >= state.ahead;
        let state = self.room.wait_while(self.state(), is_full);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn leave(&self, job: u64, outcome: Outcome) {
        self.state().results.insert(job, outcome);
        self.done.notify_one();
    }

    fn take(&self) -> Outcome {
        let is_missing = |state: &mut State| !state.results.contains_key(&state.taken);
        let state = self.done.wait_while(self.state(), is_missing);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let job = state.taken;
        let outcome = state.results.remove(&job).expect("it was waited for");
        state.taken += 1;
        self.room.notify_one();
        outcome
    }
}
