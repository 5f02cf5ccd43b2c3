//! What can go wrong, and how clients are told: in OpenAI's form, with a reason.

use std::io;
use std::path::PathBuf;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use blip2::{Blip2Error, GenerationError, ModelError, causes};
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

/// A server that cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that an option names cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of keys without one.
    #[error("{path} holds nothing: one {what} a line is needed", path = path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The model cannot write, match or embed.
    #[error("the model cannot be used")]
    Model(#[from] Blip2Error),
}

/// A request that is refused or fails.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    parameter: Option<String>,
}

/// How OpenAI's API tells of errors.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// What is wrong, and what to do.
    message: String,
    /// `invalid_request_error`, or `server_error`.
    r#type: &'static str,
    /// Which part of the request, where it is one.
    param: Option<String>,
    /// A word for programs.
    code: &'static str,
}

/// The code of a prompt that leaves no room in the model.
const TOO_LONG: &str = "context_length_exceeded";
/// By this OpenAI's clients know whether the same request has a chance.
const SHOULD_RETRY: &str = "x-should-retry";
/// Seconds after which a client may try again where the server is busy.
const RETRY_AFTER: &str = "1";

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            parameter: None,
        }
    }

    /// What the client asks for cannot be done.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_value", message)
    }

    /// The same, of one parameter.
    pub(crate) fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::invalid(message)
        }
    }

    /// The model has no room for what it should read and write.
    fn too_long(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, TOO_LONG, message)
    }

    /// The same, where what is too long came in `parameter`.
    pub(crate) fn where_too_long_in(mut self, parameter: &str) -> Self {
        if self.code == TOO_LONG {
            self.parameter = Some(parameter.to_owned());
        }
        self
    }

    /// The server has too much to do.
    pub(crate) fn busy() -> Self {
        let message = "the server is busy: its queue is full; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
    }

    /// The request took too long.
    pub(crate) fn too_slow() -> Self {
        let message = "the request took longer than the server allows: ask for fewer tokens, or try again when less is going on";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    /// It is our fault; what it was is in the log alone.
    pub(crate) fn ours() -> Self {
        let message = "the server failed; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                r#type: match self.status.is_server_error() {
                    true => "server_error",
                    false => "invalid_request_error",
                },
                param: self.parameter.clone(),
                code: self.code,
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            // It would take as long again.
            StatusCode::GATEWAY_TIMEOUT => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl From<GenerationError> for Refusal {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::NotFinite { .. } | GenerationError::Model(ModelError::NotFinite { .. }) => {
                tracing::error!("{}", with_causes(&error));
                Self::ours()
            }
            GenerationError::NoRoom { .. } | GenerationError::Model(ModelError::Context { .. }) => {
                Self::too_long(with_causes(&error))
            }
            error => Self::invalid(with_causes(&error)),
        }
    }
}

impl From<Blip2Error> for Refusal {
    fn from(error: Blip2Error) -> Self {
        match error {
            Blip2Error::Generation(error) => error.into(),
            Blip2Error::Model(ModelError::Context { .. }) => Self::too_long(with_causes(&error)),
            Blip2Error::Model(ModelError::NotFinite { .. }) => {
                tracing::error!("{}", with_causes(&error));
                Self::ours()
            }
            // What they say is about what was asked for.
            Blip2Error::Model(_) | Blip2Error::Pixels(_) | Blip2Error::Text(_) | Blip2Error::Tokenizer(_) => {
                Self::invalid(with_causes(&error))
            }
            Blip2Error::Untrained { need, .. } => {
                let message = format!("this model was not trained for that: {need}");
                Self::new(StatusCode::BAD_REQUEST, "unsupported", message)
            }
            error => {
                tracing::error!("{}", with_causes(&error));
                Self::ours()
            }
        }
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).join(": ")
}
