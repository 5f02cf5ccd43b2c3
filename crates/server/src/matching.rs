//! `/v1/match`: how well texts belong to a picture.

use std::sync::Arc;

use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{ErrorBody, Refusal};
use crate::json::Json;
use crate::listens::Listens;
use crate::state::State;

/// Where it is asked.
const PATH: &str = "/v1/match";

/// A picture and texts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MatchRequest {
    /// The model; may be left out.
    model: Option<String>,
    /// A data URL, or an address where the server fetches pictures.
    image: String,
    /// The texts.
    texts: Vec<String>,
}

/// How well each belongs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Matches {
    /// In the order of the texts.
    matches: Vec<TextMatch>,
}

#[derive(Serialize, ToSchema)]
struct TextMatch {
    text: String,
    /// Probability of the matching head, 0 to 1: picture and text were read together.
    itm_probability: f64,
    /// Cosine of the contrastive embeddings by the best query, -1 to 1.
    itc: f64,
}

/// Tells how well texts belong to a picture.
#[utoipa::path(post, path = "/v1/match", tag = "pictures", request_body = MatchRequest,
    responses((status = 200, body = Matches), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(crate) async fn match_texts(
    Shared(state): Shared<Arc<State>>,
    Json(request): Json<MatchRequest>,
) -> Result<axum::Json<Matches>, Refusal> {
    let MatchRequest { model, image, texts } = request;
    model.iter().try_for_each(|model| state.check_model(model))?;
    state.check_count("texts", texts.len(), state.options.limits.texts)?;
    state.check_texts(texts.iter().map(String::as_str))?;
    let (_listens, gone) = Listens::new();
    let matches = state.with_picture(image, move |state, picture| {
        let found = state
            .model
            .match_texts_while(picture, &texts, &|| !gone.is_raised());
        if gone.is_raised() && found.is_err() {
            state.metrics.gave_up(PATH);
        }
        let found = found?;
        let pairs = texts.into_iter().zip(found);
        let matches = pairs.map(|(text, found)| TextMatch {
            text,
            itm_probability: found.itm_probability,
            itc: found.itc,
        });
        Ok(matches.collect())
    });
    Ok(axum::Json(Matches {
        matches: matches.await?,
    }))
}

impl State {
    /// # Errors
    /// [`Refusal`] where there is none of `what`, or more than `most`.
    pub(crate) fn check_count(&self, what: &str, count: usize, most: usize) -> Result<(), Refusal> {
        match count {
            0 => Err(Refusal::parameter(
                what,
                format!("{what} is empty: give at least one"),
            )),
            count if count > most => Err(Refusal::parameter(
                what,
                format!("{count} {what} are more than the {most} that this server takes at once"),
            )),
            _ => Ok(()),
        }
    }
}
