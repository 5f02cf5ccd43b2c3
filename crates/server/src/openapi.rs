//! The document that describes all this to programs.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

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

/// The document.
pub(crate) async fn document() -> Json<Document> {
    Json(Api::openapi())
}
