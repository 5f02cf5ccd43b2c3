//! `/v1/chat/completions`, as OpenAI has it: a conversation about pictures, whole or as it is written.

mod conversation;
mod reply;
mod request;
mod stream;

use std::sync::Arc;

use axum::extract::{Extension, State as Shared};
use axum::response::{IntoResponse, Response};

use crate::answer::Answer;
use crate::error::{ErrorBody, Refusal};
use crate::json::{Json, only};
use crate::state::State;
use crate::tickets::Ticket;
use conversation::Conversation;
pub(crate) use reply::Completion;
pub(crate) use request::ChatRequest;

/// Parameters of OpenAI's that change nothing here.
const HARMLESS: [&str; 7] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "verbosity",
];

/// Answers the last question of a conversation about pictures.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatRequest,
    responses((status = 200, body = Completion), (status = "4XX", body = ErrorBody)))]
pub(crate) async fn completions(
    Shared(state): Shared<Arc<State>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    Json(mut request): Json<ChatRequest>,
) -> Result<Response, Refusal> {
    // Clients name penalties that are none.
    request
        .rest
        .retain(|name, value| !(name.ends_with("_penalty") && value.as_f64() == Some(0.0)));
    only(&request.rest, &HARMLESS)?;
    state.check_model(&request.model)?;
    let limits = state.options.limits;
    let count = request.n.unwrap_or(1);
    state.check_count("n", count, limits.rows)?;
    let stops = request.stops()?;
    let scores = request.scores()?;
    let mut settings = request.sampling.settings(&state.model.chat_settings(), &limits)?;
    let is_drawn = settings.sample;
    if scores.is_some() && settings.num_beams > 1 {
        return Err(Refusal::parameter(
            "logprobs",
            "beams have no logprobs: leave out one of the two",
        ));
    }
    let conversation = Conversation::read(&state, request.messages)?;
    if let Some(ends) = state.model.chat_ends(&conversation.template)? {
        settings.end_tokens = ends;
    }
    // The likeliest text is the same each time: it is written once.
    let different = if is_drawn { count } else { 1 };
    let requests = conversation.requests(&state, settings, different, scores).await?;
    let prompt_tokens = requests.first().map_or(0, |request| {
        request.prompt.iter().map(blip2::Segment::places).sum()
    });
    let answers = requests
        .into_iter()
        .map(|request| Answer::begin(&state, request, stops.clone(), ticket.deadline))
        .collect::<Result<Vec<_>, _>>()?;
    let reply = reply::Reply::new(&state, count, prompt_tokens, scores.is_some());
    match request.stream {
        true => Ok(stream::streamed(
            reply,
            answers,
            request
                .stream_options
                .is_some_and(|options| options.include_usage),
        )
        .await?
        .into_response()),
        false => Ok(axum::Json(reply.whole(answers).await?).into_response()),
    }
}
