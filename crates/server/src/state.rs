//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use blip2::{Blip2, PictureCache};
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::error::Refusal;
use crate::metrics::Metrics;
use crate::options::ServerOptions;
use crate::tickets::Tickets;

/// Threads that decode and encode beside the one that writes: a second hides the waiting of the first.
const WORKERS: usize = 2;
/// Pictures that are fetched at a time: that is waiting, which no worker should do.
const FETCHES: usize = 16;

pub(crate) struct State {
    pub(crate) model: Arc<Blip2>,
    pub(crate) options: ServerOptions,
    pub(crate) engine: Engine,
    pub(crate) pictures: PictureCache,
    pub(crate) tickets: Tickets,
    pub(crate) metrics: Metrics,
    /// Seconds since 1970 when it was started.
    pub(crate) started: u64,
    stopping: AtomicBool,
    workers: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
}

impl State {
    pub(crate) fn new(model: Arc<Blip2>, options: ServerOptions) -> (Self, JoinHandle<()>) {
        let (engine, thread) = Engine::start(model.clone(), options.limits.rows, options.remembered);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let state = Self {
            engine,
            pictures: PictureCache::new(options.pictures),
            tickets: Tickets::new(options.limits),
            metrics: Metrics::new(),
            started: now.map_or(0, |now| now.as_secs()),
            stopping: AtomicBool::new(false),
            workers: Arc::new(Semaphore::new(WORKERS)),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            model,
            options,
        };
        (state, thread)
    }

    /// No more requests are welcome.
    pub(crate) fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Does `work` on a thread of its own, when a worker is free.
    ///
    /// # Errors
    /// Those of the work; [`Refusal`] where it panics.
    pub(crate) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.turn(&self.workers, work).await
    }

    /// The same for what waits for the network.
    ///
    /// # Errors
    /// As for [`State::work`].
    pub(crate) async fn fetch<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.turn(&self.fetches, work).await
    }

    async fn turn<T: Send + 'static>(
        self: &Arc<Self>,
        places: &Arc<Semaphore>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = places.clone().acquire_owned();
        let permit = permit.await.map_err(|_| Refusal::ours())?;
        let state = self.clone();
        let working = tokio::task::spawn_blocking(move || {
            // Also where nobody waits for it any longer, it takes its place until it is done.
            let _permit = permit;
            work(&state)
        });
        match working.await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!("a request failed: {error}");
                Err(Refusal::ours())
            }
        }
    }
}
