//! What a client sends.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::error::Refusal;
use crate::sampling::Sampling;

/// Most texts that stop an answer, and most likeliest tokens that are named.
const STOPS: usize = 4;
const LIKELIEST: usize = 20;

/// A conversation, and how its next answer is to be written. Parameters that would do nothing here are refused, unless what they
/// ask for is nothing.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ChatRequest {
    /// The model.
    pub(crate) model: String,
    /// What was said so far; the last message is the user's.
    pub(crate) messages: Vec<Message>,
    /// Whether the answer comes as it is written, by server-sent events.
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    /// How many answers; 1 where nothing is said. They differ where tokens are drawn (`temperature`).
    pub(crate) n: Option<usize>,
    /// One text, or up to four, before which the answer ends.
    stop: Option<Stops>,
    /// Whether tokens come with their log-probabilities.
    logprobs: Option<bool>,
    /// How many of the likeliest tokens come with each, up to 20.
    top_logprobs: Option<usize>,
    #[serde(flatten)]
    pub(crate) sampling: Sampling,
    #[serde(flatten)]
    #[schema(ignore)]
    pub(crate) rest: Map<String, Value>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
pub(crate) struct StreamOptions {
    /// Whether the last event tells how many tokens were read and written.
    pub(crate) include_usage: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "stop is a text, or a list of texts")]
enum Stops {
    One(String),
    Several(Vec<String>),
}

/// Something that was said.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "role", rename_all = "lowercase")]
pub(crate) enum Message {
    /// What stands in front of the conversation.
    #[serde(alias = "developer")]
    System { content: Content },
    /// A question.
    User { content: Content },
    /// An answer; an empty one where it has no content.
    Assistant { content: Option<Content> },
}

/// A text, or texts and pictures.
#[derive(Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "content is a text, or a list of {\"type\": \"text\", ...} and {\"type\": \"image_url\", ...}"
)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

/// A data URL, or an address where the server fetches pictures. There is one degree of detail: the encoder's.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ImageUrl {
    pub(crate) url: String,
}

impl ChatRequest {
    /// The texts before which the answer ends.
    pub(crate) fn stops(&self) -> Result<Vec<String>, Refusal> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Stops::One(stop)) => vec![stop.clone()],
            Some(Stops::Several(stops)) => stops.clone(),
        };
        if stops.len() > STOPS || stops.iter().any(|stop| stop.is_empty() || stop.len() > 1000) {
            let message =
                format!("stop takes up to {STOPS} texts, none of them empty or longer than 1000 bytes");
            return Err(Refusal::parameter("stop", message));
        }
        Ok(stops)
    }

    /// How many of the likeliest tokens come with each, where log-probabilities are asked for.
    pub(crate) fn scores(&self) -> Result<Option<usize>, Refusal> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (false, None | Some(0)) => Ok(None),
            (false, Some(_)) => Err(Refusal::parameter(
                "top_logprobs",
                "top_logprobs needs logprobs to be true",
            )),
            (true, Some(count)) if count > LIKELIEST => {
                let message = format!("top_logprobs is {count}; at most {LIKELIEST} are named");
                Err(Refusal::parameter("top_logprobs", message))
            }
            (true, count) => Ok(Some(count.unwrap_or(0))),
        }
    }
}
