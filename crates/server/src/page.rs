//! The web page: files within the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Name, kind and content of each file.
const FILES: [(&str, &str, &str); 14] = [
    ("index.html", HTML, include_str!("page/index.html")),
    ("style.css", STYLE, include_str!("page/style.css")),
    ("icon.svg", SVG, include_str!("page/icon.svg")),
    ("script.js", SCRIPT, include_str!("page/script.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("caption.js", SCRIPT, include_str!("page/caption.js")),
    ("heat.js", SCRIPT, include_str!("page/heat.js")),
    ("look.js", SCRIPT, include_str!("page/look.js")),
    ("match.js", SCRIPT, include_str!("page/match.js")),
    ("panel.js", SCRIPT, include_str!("page/panel.js")),
    ("picture.js", SCRIPT, include_str!("page/picture.js")),
    ("settings.js", SCRIPT, include_str!("page/settings.js")),
    ("snippets.js", SCRIPT, include_str!("page/snippets.js")),
    ("talk.js", SCRIPT, include_str!("page/talk.js")),
];

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
