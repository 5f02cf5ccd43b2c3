//! `/v1/caption`: captions of a picture, by the language model, or by the Q-Former where there is none.

use std::sync::Arc;

use axum::extract::{Extension, State as Shared};
use blip2::{EncodedPicture, Finding, GenerationConfig, Piece};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::answer::DescribedFinding;
use crate::error::{ErrorBody, Refusal};
use crate::json::{Json, only};
use crate::listens::Listens;
use crate::sampling::Sampling;
use crate::state::State;
use crate::tickets::Ticket;

/// A picture, and how its captions are to be written.
#[derive(Deserialize, ToSchema)]
pub(crate) struct CaptionRequest {
    /// The model; may be left out.
    model: Option<String>,
    /// A data URL, or an address where the server fetches pictures.
    image: String,
    /// What the caption continues; the model's own prompt where nothing is said.
    prompt: Option<String>,
    /// How many captions; 1 where nothing is said.
    num_captions: Option<usize>,
    #[serde(flatten)]
    sampling: Sampling,
    #[serde(flatten)]
    #[schema(ignore)]
    rest: Map<String, Value>,
}

/// Captions, the best of beams first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Captions {
    captions: Vec<Caption>,
    /// What the filter found in captions that are kept back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<DescribedFinding>)]
    filtered: Vec<Finding>,
}

#[derive(Serialize, ToSchema)]
struct Caption {
    text: String,
    /// The new ids.
    ids: Vec<u32>,
    /// Sum of their log-probabilities by their number to the power of the length penalty.
    score: f64,
}

/// Captions a picture.
#[utoipa::path(post, path = "/v1/caption", tag = "pictures", request_body = CaptionRequest,
    responses((status = 200, body = Captions), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(crate) async fn caption(
    Shared(state): Shared<Arc<State>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    Json(request): Json<CaptionRequest>,
) -> Result<axum::Json<Captions>, Refusal> {
    only(&request.rest, &[])?;
    request
        .model
        .iter()
        .try_for_each(|model| state.check_model(model))?;
    state.check_texts(request.prompt.iter().map(String::as_str))?;
    let settings = settings(&state, &request)?;
    let picture = state.encoded_for_text(request.image).await?;
    let written = match state.model.has_bridge() {
        true => by_language_model(&state, &ticket, picture, request.prompt, &settings).await,
        false => by_qformer(&state, picture, request.prompt, settings).await,
    };
    let written = written.map_err(|refusal| refusal.where_too_long_in("prompt"))?;
    let (mut captions, mut filtered) = (Vec::new(), Vec::new());
    for caption in written {
        match state.find("text", &caption.text) {
            Some(finding) => filtered.push(finding),
            None => captions.push(caption),
        }
    }
    Ok(axum::Json(Captions { captions, filtered }))
}

fn settings(state: &State, request: &CaptionRequest) -> Result<GenerationConfig, Refusal> {
    let limits = &state.options.limits;
    let count = request.num_captions.unwrap_or(1);
    state.check_count("num_captions", count, limits.rows)?;
    let mut settings = request
        .sampling
        .settings(state.model.caption_settings(), limits)?;
    settings.num_return_sequences = count;
    if !settings.sample {
        settings.num_beams = settings.num_beams.max(count);
    }
    settings.check()?;
    Ok(settings)
}

async fn by_language_model(
    state: &Arc<State>,
    ticket: &Ticket,
    picture: EncodedPicture,
    prompt: Option<String>,
    settings: &GenerationConfig,
) -> Result<Vec<Caption>, Refusal> {
    let settings = settings.clone();
    let request = state.work(move |state| {
        let prompt = prompt.unwrap_or_else(|| state.model.caption_prompt().to_owned());
        let pieces = [Piece::Picture(picture), Piece::Text(prompt.clone())];
        Ok(state.model.request(&pieces, &prompt, &settings, 0, None)?)
    });
    let texts = state.texts(request.await?, ticket).await?;
    texts
        .into_iter()
        .map(|text| {
            Ok(Caption {
                text: state.model.decode(&text.ids)?.trim().to_owned(),
                ids: text.ids,
                score: text.score,
            })
        })
        .collect()
}

async fn by_qformer(
    state: &Arc<State>,
    picture: EncodedPicture,
    prompt: Option<String>,
    mut settings: GenerationConfig,
) -> Result<Vec<Caption>, Refusal> {
    if prompt.is_some_and(|prompt| !prompt.is_empty()) {
        return Err(Refusal::parameter(
            "prompt",
            "this model captions without a prompt: leave it out",
        ));
    }
    // One of its own: those of the model's settings are shared.
    let (_listens, stop) = Listens::new();
    settings.stop = stop;
    let written = state.work(move |state| Ok(state.model.caption_encoded_by_qformer(&picture, &settings)?));
    let captions = written.await?.into_iter().map(|written| Caption {
        text: written.text,
        ids: written.ids,
        score: written.score,
    });
    Ok(captions.collect())
}
