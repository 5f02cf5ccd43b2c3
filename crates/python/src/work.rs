//! Work on a thread of its own, whose news Python waits for: without the GIL, and with an ear for Ctrl-C.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use blip2::StopFlag;
use pyo3::prelude::*;

use crate::failure::Failure;

/// How long a signal waits at most until Python handles it.
const TICK: Duration = Duration::from_millis(50);

/// Work that has begun. It is told to stop when this is dropped, or when Python is interrupted while it waits: the thread goes on
/// to the next place where it looks at the flag, and nobody waits for that.
pub(crate) struct Work<News> {
    news: Mutex<Receiver<Result<News, Failure>>>,
    stop: StopFlag,
}

impl<News: Send + 'static> Work<News> {
    /// Begins `work`, which can say something on the way and says something in the end.
    ///
    /// # Errors
    /// [`Failure::Thread`] where there is no thread for it.
    pub(crate) fn begin(
        stop: StopFlag,
        work: impl FnOnce(&mut dyn FnMut(News)) -> Result<News, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let (sender, news) = channel();
        let thread = move || {
            // Nobody listens to work that was given up.
            let mut say = |news| drop(sender.send(Ok(news)));
            let last = catch_unwind(AssertUnwindSafe(|| work(&mut say)));
            let last = last.unwrap_or_else(|panic| Err(Failure::Panicked(said(panic.as_ref()))));
            drop(sender.send(last));
        };
        let thread = thread::Builder::new().name("blip2".to_owned()).spawn(thread);
        thread.map_err(Failure::Thread)?;
        Ok(Self {
            news: Mutex::new(news),
            stop,
        })
    }

    /// Waits for what it says next; `None` after the last.
    ///
    /// # Errors
    /// Those of the work, and what the handler of a signal raises.
    pub(crate) fn next(&self, py: Python<'_>) -> PyResult<Option<News>> {
        loop {
            // Also where news come thick and fast, and nothing of Python runs in between.
            py.check_signals().inspect_err(|_| self.stop.raise())?;
            let heard = py.detach(|| {
                let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
                news.recv_timeout(TICK)
            });
            match heard {
                Ok(news) => return Ok(Some(news?)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Gives it up.
    pub(crate) fn stop(&self) {
        self.stop.raise();
    }

    /// Whether it was given up.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_raised()
    }
}

impl<News> Drop for Work<News> {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

/// Does `work`, which looks at `stop` now and then, to its end.
///
/// # Errors
/// As for [`Work::next`].
pub(crate) fn done<Done: Send + 'static>(
    py: Python<'_>,
    stop: StopFlag,
    work: impl FnOnce() -> Result<Done, Failure> + Send + 'static,
) -> PyResult<Done> {
    let work = Work::begin(stop, |_| work())?;
    let done = work.next(py)?;
    Ok(done.ok_or_else(|| Failure::Panicked("it ended without a word".to_owned()))?)
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it said nothing".to_owned())
}
