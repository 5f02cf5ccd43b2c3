//! Who is being served: so many requests at a time, so many of one client, each for so long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Refusal;
use crate::listen::Connection;
use crate::options::Limits;

/// Whom requests count for: a key, or an address where there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Key(usize),
    Address(IpAddr),
}

/// All that can be served at a time.
pub(crate) struct Tickets {
    all: Arc<Semaphore>,
    of_clients: Arc<Mutex<HashMap<Client, usize>>>,
    limits: Limits,
}

/// Leave to be served, until it is dropped.
pub(crate) struct Ticket {
    /// When the request must be done.
    pub(crate) deadline: Instant,
    client: Client,
    of_clients: Arc<Mutex<HashMap<Client, usize>>>,
    connection: Connection,
    _one_of_all: OwnedSemaphorePermit,
}

impl Tickets {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.requests)),
            of_clients: Arc::default(),
            limits,
        }
    }

    /// # Errors
    /// [`Refusal`] where the server, or the client, has too much going on.
    pub(crate) fn take(&self, client: Client, connection: Connection) -> Result<Ticket, Refusal> {
        let one_of_all = self
            .all
            .clone()
            .try_acquire_owned()
            .map_err(|_| Refusal::busy())?;
        let mut of_clients = self.of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of_clients.entry(client).or_default();
        if *count >= self.limits.requests_of_client {
            let message = format!(
                "{count} requests of this client are being served, and no more are allowed: wait for one to end"
            );
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                message,
            ));
        }
        *count += 1;
        let deadline = Instant::now() + self.limits.time;
        connection.must_end_by(Some(deadline));
        Ok(Ticket {
            deadline,
            client,
            of_clients: self.of_clients.clone(),
            connection,
            _one_of_all: one_of_all,
        })
    }

    /// Requests that are being served.
    pub(crate) fn taken(&self) -> usize {
        self.limits.requests.saturating_sub(self.all.available_permits())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.connection.must_end_by(None);
        let mut of_clients = self.of_clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of_clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                of_clients.remove(&self.client);
            }
        }
    }
}
