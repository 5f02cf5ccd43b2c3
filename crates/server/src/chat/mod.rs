//! `/v1/chat/completions`, as OpenAI has it: a conversation about pictures, whole or as it is written.

mod conversation;
mod idle;
mod reply;
mod request;
mod stream;
mod token_text;

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

/// Answers the last question of a conversation about pictures.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatRequest,
    responses((status = 200, body = Completion), (status = "4XX", body = ErrorBody), (status = "5XX", body = ErrorBody)))]
pub(crate) async fn completions(
    Shared(state): Shared<Arc<State>>,
    Extension(ticket): Extension<Arc<Ticket>>,
    Json(request): Json<ChatRequest>,
) -> Result<Response, Refusal> {
    let completed = completed(&state, &ticket, request).await;
    completed.map_err(|refusal| refusal.where_too_long_in("messages"))
}

async fn completed(
    state: &Arc<State>,
    ticket: &Ticket,
    mut request: ChatRequest,
) -> Result<Response, Refusal> {
    request
        .rest
        .retain(|name, value| !idle::asks_for_nothing(name, value));
    only(&request.rest, &[])?;
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
    let conversation = Conversation::read(state, request.messages)?;
    if let Some(ends) = state.model.chat_ends(&conversation.template)? {
        settings.end_tokens = ends;
    }
    // The likeliest text is the same each time: it is written once.
    let different = if is_drawn { count } else { 1 };
    let requests = conversation.requests(state, settings, different, scores).await?;
    let prompt_tokens = requests.first().map_or(0, |request| {
        request.prompt.iter().map(blip2::Segment::places).sum()
    });
    let answers = requests
        .into_iter()
        .map(|request| Answer::begin(state, request, stops.clone(), ticket.deadline))
        .collect::<Result<Vec<_>, _>>()?;
    let reply = reply::Reply::new(state, count, prompt_tokens, scores.is_some());
    match request.stream.unwrap_or(false) {
        true => {
            let counted = request.stream_options.and_then(|options| options.include_usage);
            let streamed = stream::streamed(reply, answers, counted.unwrap_or(false));
            Ok(streamed.await?.into_response())
        }
        false => Ok(axum::Json(reply.whole(answers).await?).into_response()),
    }
}
