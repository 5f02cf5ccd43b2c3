//! What can be set.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use blip2::{Filter, WordList};
use tokio::sync::Semaphore;

use crate::keys::Keys;

/// How a server is run.
#[derive(Clone)]
pub struct ServerOptions {
    /// How clients call the model.
    pub model: String,
    /// Where to listen; by default this machine alone can reach it.
    pub host: IpAddr,
    /// 0 takes one that is free.
    pub port: u16,
    /// Names under which it may be asked beside `localhost` and the addresses of this machine, where nobody else can reach it and there
    /// are no keys: without that, a page of the web could have a name of its own lead here.
    pub hosts: Vec<String>,
    /// Keys of which a client must have one; none lets everyone in.
    pub keys: Option<Keys>,
    /// Whether pictures are fetched from `http` and `https` addresses.
    pub remote_images: bool,
    /// What prompts and texts must not say.
    pub filter: Option<Arc<dyn Filter>>,
    /// What requests may take.
    pub limits: Limits,
    /// Bytes of keys and values of beginnings that are kept for the next question.
    pub remembered: usize,
    /// Bytes of image features that are kept for the next question.
    pub pictures: usize,
}

/// What requests may take of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request.
    pub body: usize,
    /// Pixels of a picture.
    pub pixels: u64,
    /// Pictures of a request.
    pub pictures: usize,
    /// Characters of all texts of a request.
    pub characters: usize,
    /// New tokens of a text.
    pub tokens: usize,
    /// Texts of a request.
    pub texts: usize,
    /// Rows that the model writes together: a beam is one, a text without beams is one.
    pub rows: usize,
    /// Requests at a time, those that wait included; another one is told to come back (503).
    pub requests: usize,
    /// Requests of a client at a time; another one is refused (429).
    pub requests_of_client: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Time for a request, from its first byte to its last.
    pub time: Duration,
    /// Time in which a client must have sent its request.
    pub sending: Duration,
    /// How long a client may read nothing of what was written for it, before its connection is closed.
    pub reading: Duration,
}

impl Limits {
    /// More than any request needs, and less than what clocks can add to the present.
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// The same as far as clocks and counters reach.
    pub(crate) fn within_reach(self) -> Self {
        Self {
            requests: self.requests.min(Semaphore::MAX_PERMITS),
            connections: self.connections.min(Semaphore::MAX_PERMITS),
            time: self.time.min(Self::LONGEST),
            sending: self.sending.min(Self::LONGEST),
            reading: self.reading.min(Self::LONGEST),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 20 << 20,
            pixels: 40_000_000,
            pictures: 16,
            characters: 100_000,
            tokens: 1024,
            texts: 128,
            rows: 16,
            requests: 80,
            requests_of_client: 32,
            connections: 1024,
            time: Duration::from_secs(120),
            sending: Duration::from_secs(30),
            reading: Duration::from_secs(30),
        }
    }
}

impl ServerOptions {
    /// The defaults, for a model that clients call `model`: this machine alone, port 8080, no keys, no remote pictures, the
    /// built-in word list.
    pub fn named(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            hosts: Vec::new(),
            keys: None,
            remote_images: false,
            filter: Some(Arc::new(WordList::built_in())),
            limits: Limits::default(),
            remembered: 256 << 20,
            pictures: 128 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn limits_are_what_clocks_and_counters_hold() {
        let boundless = Limits {
            requests: usize::MAX,
            connections: usize::MAX,
            time: Duration::MAX,
            sending: Duration::MAX,
            reading: Duration::MAX,
            ..Limits::default()
        };
        let limits = boundless.within_reach();
        let _ = (
            Semaphore::new(limits.requests),
            Semaphore::new(limits.connections),
        );
        for time in [limits.time, limits.sending, limits.reading] {
            assert!(Instant::now().checked_add(time).is_some());
        }
        assert_eq!(Limits::default().within_reach(), Limits::default());
    }
}
