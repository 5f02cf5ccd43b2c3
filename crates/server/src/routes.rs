//! Which request goes where, and what all of them pass first: keys, limits, the count.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt;

use crate::error::Refusal;
use crate::hosts::known_host;
use crate::listen::Connection;
use crate::state::State;
use crate::tickets::Client;
use crate::{attention, caption, chat, embeddings, health, matching, models, openapi, page};

/// What counts for routes that there are not: nobody's typing becomes a label.
const ELSEWHERE: &str = "elsewhere";

/// The whole service.
pub(crate) fn router(state: Arc<State>) -> Router {
    let asked = Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/caption", post(caption::caption))
        .route("/v1/match", post(matching::match_texts))
        .route("/v1/attention", post(attention::attention))
        .route_layer(from_fn_with_state(state.clone(), in_time));
    let api = asked
        .route("/v1/models", get(models::models))
        .route("/v1/models/{model}", get(models::model))
        .route_layer(from_fn_with_state(state.clone(), let_in));
    api.route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .fallback(absent)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(state.clone(), known_host))
        .layer(from_fn_with_state(state.clone(), count))
        .with_state(state)
}

async fn absent() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this address: /openapi.json says what there is",
    )
}

async fn other_method(method: Method) -> Refusal {
    let message = format!("{method} is nothing that can be done here: /openapi.json says what can");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Counts requests and their times, up to the last byte of the answer.
async fn count(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or(ELSEWHERE, MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = response.status();
    state.metrics.answered(&route, status.as_u16());
    let counted = Counted {
        state,
        route,
        started,
    };
    response.map(|body| held(body, counted))
}

struct Counted {
    state: Arc<State>,
    route: String,
    started: Instant,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let time = self.started.elapsed();
        self.state.metrics.took(&self.route, time);
        tracing::info!(route = self.route, milliseconds = time.as_millis(), "answered");
    }
}

/// `body`, with which `kept` lives and ends.
fn held<T: Send + Sync + 'static>(body: Body, kept: T) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _lives = &kept;
        frame
    }))
}

/// Lets in who has a key, where keys are asked for.
async fn let_in(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().cloned();
    let Some(connection) = connection else {
        return Refusal::ours().into_response();
    };
    let client = match &state.options.keys {
        None => Client::Address(connection.address),
        Some(keys) => {
            let given = request.headers().get(header::AUTHORIZATION);
            let given = given.and_then(|given| given.to_str().ok()?.strip_prefix("Bearer "));
            match given.and_then(|given| keys.find(given.trim())) {
                Some(number) => Client::Key(number),
                None => {
                    let message = "this server asks for a key: send it as `Authorization: Bearer KEY`";
                    return Refusal::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
                        .into_response();
                }
            }
        }
    };
    request.extensions_mut().insert(client);
    next.run(request).await
}

/// Gives a request its place and its time.
async fn in_time(Shared(state): Shared<Arc<State>>, mut request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    let (Some(client), Some(connection)) = (extensions.get::<Client>(), extensions.get::<Connection>())
    else {
        return Refusal::ours().into_response();
    };
    if state.is_stopping() {
        return Refusal::busy().into_response();
    }
    let ticket = match state.tickets.take(*client, connection.clone()) {
        Ok(ticket) => Arc::new(ticket),
        Err(refusal) => return refusal.into_response(),
    };
    request.extensions_mut().insert(ticket.clone());
    match tokio::time::timeout_at(ticket.deadline.into(), next.run(request)).await {
        Ok(response) => response.map(|body| held(body, ticket)),
        Err(_) => Refusal::too_slow().into_response(),
    }
}
