//! What clients send: JSON of limited size, in limited time, read into a type, and what does not fit told by its place.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Refusal;
use crate::state::State;

/// The body of a request.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<State>> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Self, Refusal> {
        let limits = state.options.limits;
        // Without it, any page in a browser could ask in its user's name.
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the request's Content-Type is not application/json",
            ));
        }
        let body = Limited::new(request.into_body(), limits.body).collect();
        let body = tokio::time::timeout(limits.sending, body).await.map_err(|_| {
            let message = format!("the request was not sent within {} s", limits.sending.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow_request", message)
        })?;
        match body {
            Ok(body) => read(&body.to_bytes()).map(Self),
            Err(error) if error.is::<LengthLimitError>() => Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!(
                    "the request is larger than {} bytes: send smaller pictures",
                    limits.body
                ),
            )),
            Err(_) => Err(Refusal::invalid("the request broke off")),
        }
    }
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let place = error.path().to_string();
        let message = error.inner().to_string();
        match place.as_str() {
            "." => Refusal::invalid(message),
            place => Refusal::parameter(place, format!("{place}: {message}")),
        }
    })?;
    let end = reader.end();
    end.map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok(read)
}

/// # Errors
/// [`Refusal`] with the first of the parameters `rest` that is not one of `harmless`, which change nothing here.
pub(crate) fn only(rest: &Map<String, Value>, harmless: &[&str]) -> Result<(), Refusal> {
    let known = |name: &str, value: &Value| value.is_null() || harmless.contains(&name);
    match rest.iter().find(|(name, value)| !known(name, value)) {
        None => Ok(()),
        Some((name, _)) => Err(Refusal::parameter(
            name,
            format!(
                "there is no parameter `{name}` here, or it can do nothing with this model: leave it out"
            ),
        )),
    }
}
