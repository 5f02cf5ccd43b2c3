//! Connections: taken, timed, and ended without cutting off what runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use blip2::Blip2;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::options::{Limits, ServerOptions};
use crate::routes::router;
use crate::state::State;
use crate::stream::Stream;
use crate::{ServerError, engine};

/// How often it is looked whether a request is too late.
const TICK: Duration = Duration::from_secs(1);
/// What a client that reads slowly gets beyond the time of its request.
const GRACE: Duration = Duration::from_secs(10);

/// A server that listens and serves nobody yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    state: Arc<State>,
    engine: JoinHandle<()>,
}

/// One connection: whose it is, and when the request on it must be over.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) address: IpAddr,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Connection {
    fn new(address: IpAddr) -> Self {
        Self {
            address,
            deadline: Arc::default(),
        }
    }

    pub(crate) fn must_end_by(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// Comes back once a request is later than it may be: its client does not read what it asked for.
    async fn is_too_late(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            let deadline = *self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
            if deadline.is_some_and(|deadline| deadline + GRACE < Instant::now()) {
                return;
            }
        }
    }
}

impl Server {
    /// Listens, with the language model of `model` loaded where it has one.
    ///
    /// # Errors
    /// [`ServerError`] where the address cannot be had, or the language model cannot be loaded.
    pub async fn bind(model: Arc<Blip2>, mut options: ServerOptions) -> Result<Self, ServerError> {
        if model.has_bridge() {
            engine::can_write(&model)?;
        }
        let wanted = SocketAddr::new(options.host, options.port);
        let failed = |source| ServerError::Listen {
            address: wanted.to_string(),
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let limits = options.limits.within_reach();
        options.limits = limits;
        let (state, engine) = State::new(model, options);
        Ok(Self {
            listener,
            address,
            limits,
            state: Arc::new(state),
            engine,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` comes back; then takes no more connections, and ends what runs.
    ///
    /// # Errors
    /// None: who cannot be served is told so.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self {
            listener,
            limits,
            state,
            engine,
            ..
        } = self;
        let router = router(state.clone());
        let room = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let permit = tokio::select! {
                permit = room.clone().acquire_owned() => permit,
                () = &mut stop => break,
            };
            let (stream, peer) = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Too many open files, mostly: others have to end first.
                        tracing::warn!("a connection cannot be taken: {error}");
                        tokio::time::sleep(TICK).await;
                        continue;
                    }
                },
                () = &mut stop => break,
            };
            let served = serve(stream, peer.ip(), router.clone(), limits, &graceful);
            tokio::spawn(async move {
                served.await;
                drop(permit);
            });
        }
        drop(listener);
        tracing::info!("stopping: what runs is finished");
        state.stops();
        tokio::select! {
            () = graceful.shutdown() => {}
            () = tokio::time::sleep(limits.time + GRACE) => tracing::warn!("some requests did not end in time"),
        }
        drop(router);
        state.engine.close();
        let _ = tokio::task::spawn_blocking(move || engine.join()).await;
        Ok(())
    }
}

fn serve(
    stream: TcpStream,
    address: IpAddr,
    router: Router,
    limits: Limits,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Pieces of a text are sent as they come.
    let _ = stream.set_nodelay(true);
    let connection = Connection::new(address);
    let own = connection.clone();
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(own.clone());
        request.map(axum::body::Body::new)
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.sending)
        .serve_connection(
            TokioIo::new(Stream::new(stream, limits.reading)),
            TowerToHyperService::new(service),
        );
    let http = graceful.watch(http);
    async move {
        tokio::select! {
            ended = http => if let Err(error) = ended {
                tracing::debug!("a connection broke: {error}");
            },
            () = connection.is_too_late() => tracing::debug!("a client does not read its answer: cut off"),
        }
    }
}
