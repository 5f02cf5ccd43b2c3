//! The document that describes all this to programs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use crate::state::State;

/// BLIP-2 over HTTP
#[derive(OpenApi)]
#[openapi(
    info(
        title = "BLIP-2",
        description = "Captions, answers, matches, embeddings and attention of one BLIP-2 model"
    ),
    paths(
        crate::chat::completions,
        crate::embeddings::embeddings,
        crate::models::models,
        crate::models::model,
        crate::caption::caption,
        crate::matching::match_texts,
        crate::attention::attention,
        crate::health::health,
        crate::health::ready,
        crate::health::metrics,
    )
)]
struct Api;

/// How the document calls the way in which keys are sent.
const BEARER: &str = "bearer";

/// The document. Keys are asked for where the server has some, and may be sent where it has none.
pub(crate) async fn document(Shared(state): Shared<Arc<State>>) -> Json<Document> {
    Json(described(state.options.keys.is_some()))
}

fn described(has_keys: bool) -> Document {
    let mut document = Api::openapi();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A key of the server's `--api-key-file`"))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    let key = SecurityRequirement::new(BEARER, [""; 0]);
    document.security = Some(match has_keys {
        true => vec![key],
        false => vec![SecurityRequirement::default(), key],
    });
    document
}
