//! The web page: files within the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";

/// Name, kind and content of each file.
const FILES: [(&str, &str, &str); 1] = [("index.html", HTML, include_str!("page/index.html"))];

/// The page itself.
pub(crate) async fn index() -> Response {
    file(Path("index.html".to_owned())).await
}

/// What it consists of.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        None => StatusCode::NOT_FOUND.into_response(),
        Some((_, kind, content)) => {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, "no-cache"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::X_FRAME_OPTIONS, "DENY"),
                (header::REFERRER_POLICY, "no-referrer"),
            ];
            (headers, *content).into_response()
        }
    }
}
