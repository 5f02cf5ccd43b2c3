//! Whether the server lives, is ready, and what it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use crate::state::State;

/// Whether the process answers.
#[utoipa::path(get, path = "/health", tag = "operation", security(()), responses((status = 200, description = "It lives")))]
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// Whether requests are welcome.
#[utoipa::path(get, path = "/ready", tag = "operation", security(()), responses(
    (status = 200, description = "The model is loaded and runs"),
    (status = 503, description = "The server is stopping, or the model does not run")
))]
pub(crate) async fn ready(Shared(state): Shared<Arc<State>>) -> impl IntoResponse {
    let runs = state.engine.load().runs.load(Ordering::Relaxed) || !state.model.has_bridge();
    match runs && !state.is_stopping() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()), responses((status = 200, description = "OpenMetrics", body = String)))]
pub(crate) async fn metrics(Shared(state): Shared<Arc<State>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.figures())
}
