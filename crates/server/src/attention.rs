//! `/v1/attention`: where the queries look in a picture, and for which words of a text.

use std::sync::Arc;

use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{ErrorBody, Refusal};
use crate::json::Json;
use crate::state::State;

/// A picture, and a text about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttentionRequest {
    /// The model; may be left out.
    model: Option<String>,
    /// A data URL, or an address where the server fetches pictures.
    image: String,
    /// A text, for whose words it is told where the queries look.
    text: Option<String>,
}

/// Where the queries look.
#[derive(Serialize, ToSchema)]
pub(crate) struct Attention {
    /// `stage`, `grid` (rows and columns of patches), and `layers`: in each, how much each of `queries` takes of each patch.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    looks: blip2::Looks,
    /// `layer`, `grid`, `itm_probability`, `queries`, and `words`, each with its `weights`: what of the looks speaks for a match with
    /// the text. Nothing without a text, or without a model of stage 1.
    #[schema(value_type = Option<Object>)]
    words: Option<blip2::WordLooks>,
}

/// Tells where the queries look in a picture.
#[utoipa::path(post, path = "/v1/attention", tag = "pictures", request_body = AttentionRequest,
    responses((status = 200, body = Attention), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(crate) async fn attention(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<AttentionRequest>,
) -> Result<axum::Json<Attention>, Refusal> {
    let AttentionRequest { model, image, text } = request;
    model.iter().try_for_each(|model| state.check_model(model))?;
    state.check_texts(text.iter().map(String::as_str))?;
    let looked = state.with_picture(image, move |state, picture| {
        let model = &state.model;
        let text = text.filter(|text| !text.trim().is_empty());
        // A text that stage 2 cannot read stands beside the queries of stage 1 alone.
        let beside = text
            .as_deref()
            .filter(|_| model.has_representation() || model.reads_instructions());
        let looks = model.looks(picture, beside, None)?;
        let told = text.filter(|_| model.has_representation());
        let words = told
            .map(|text| model.word_looks(picture, &text, None))
            .transpose()?;
        Ok(Attention { looks, words })
    });
    Ok(axum::Json(looked.await?))
}
