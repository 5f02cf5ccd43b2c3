//! How requests travel: by the same client as those to the hub, so that no second one is compiled.

use std::io::Read;
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use ureq::Agent;
use ureq::http::Request;

use super::checksum::Checksum;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);
/// The largest answer that is taken: a piece of a shard and something to spare.
const LARGEST: u64 = 64 << 20;

/// Makes clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let settings = Agent::config_builder()
            // Statuses are judged by the store: some are worth another try.
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_recv_body(Some(SILENCE))
            .build();
        Ok(HttpClient::new(Client(Agent::new_with_config(settings))))
    }
}

#[derive(Debug)]
struct Client(Agent);

#[async_trait]
impl HttpService for Client {
    /// It blocks: each thread that reads shards has a runtime of its own, with nothing else in it.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.send(request)
    }
}

impl Client {
    fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = match body.as_bytes().filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => self.0.run(Request::from_parts(parts, bytes.to_vec())),
            None => self.0.run(Request::from_parts(parts, ())),
        };
        let answer = answer.map_err(failed)?;
        let (mut parts, mut body) = answer.into_parts();
        if let Some(checksum) = Checksum::named(&parts.headers) {
            parts.extensions.insert(checksum);
        }
        let mut bytes = Vec::new();
        let mut reader = body.as_reader().take(LARGEST);
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }
}

/// What is worth another try is told from what is not.
fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Io(_) | ureq::Error::Protocol(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
