//! What a client gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use blip2::Finding;
use serde::Serialize;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::token_text::{TokenTexts, bytes};
use crate::answer::{Answer, DescribedFinding, Finish, Said, Whole};
use crate::error::Refusal;
use crate::sampling::any_number;
use crate::state::State;
use crate::withheld::ScoredToken;

/// Answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct Completion {
    id: String,
    /// `chat.completion`, or `chat.completion.chunk` of one that comes in pieces.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    pub(super) choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Choice {
    pub(super) index: usize,
    /// The answer, where it comes as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Spoken>,
    /// A piece of it, where it comes in pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<Spoken>,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<Finish>,
    /// What the filter found, where it kept an answer back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<DescribedFinding>)]
    pub(super) filtered: Option<Finding>,
}

#[derive(Clone, Default, Serialize, ToSchema)]
pub(super) struct Spoken {
    /// `assistant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
}

#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Logprobs {
    content: Vec<Logprob>,
}

#[derive(Clone, Serialize, ToSchema)]
struct Logprob {
    #[serde(flatten)]
    chosen: Scored,
    /// The likeliest tokens in its place.
    top_logprobs: Vec<Scored>,
}

#[derive(Clone, Serialize, ToSchema)]
struct Scored {
    token: String,
    /// By the model itself, before temperature and cuts.
    logprob: f32,
    /// Nothing where the token is a part of a character.
    bytes: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Serialize, ToSchema)]
pub(super) struct Usage {
    /// Places that pictures and words took.
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

/// What all pieces of a reply share.
pub(super) struct Reply {
    state: Arc<State>,
    id: String,
    created: u64,
    /// Answers that are asked for.
    pub(super) count: usize,
    prompt_tokens: usize,
    pub(super) scored: bool,
}

impl Reply {
    pub(super) fn new(state: &Arc<State>, count: usize, prompt_tokens: usize, scored: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            state: state.clone(),
            id: format!("chatcmpl-{:016x}", any_number()),
            created: now.map_or(0, |now| now.as_secs()),
            count,
            prompt_tokens,
            scored,
        }
    }

    /// The reply of whole answers.
    ///
    /// # Errors
    /// [`Refusal`] where one cannot be written.
    pub(super) async fn whole(self, answers: Vec<Answer>) -> Result<Completion, Refusal> {
        let mut choices = Vec::with_capacity(self.count);
        let mut written = 0;
        let copies = self.count / answers.len().max(1);
        for whole in wholes(answers).await? {
            let Whole {
                said,
                tokens,
                finish,
                finding,
            } = whole;
            written += tokens;
            let logprobs = self.logprobs(&said)?;
            for _ in 0..copies {
                choices.push(Choice {
                    index: choices.len(),
                    message: Some(Spoken {
                        role: Some("assistant"),
                        content: Some(said.text.clone()),
                    }),
                    delta: None,
                    logprobs: logprobs.clone(),
                    finish_reason: finish,
                    filtered: finding.clone(),
                });
            }
        }
        Ok(self.completion("chat.completion", choices, Some(self.usage(written))))
    }

    /// A piece of a reply that comes in pieces.
    pub(super) fn chunk(&self, choices: Vec<Choice>, usage: Option<Usage>) -> Completion {
        self.completion("chat.completion.chunk", choices, usage)
    }

    fn completion(&self, object: &'static str, choices: Vec<Choice>, usage: Option<Usage>) -> Completion {
        Completion {
            id: self.id.clone(),
            object,
            created: self.created,
            model: self.state.options.model.clone(),
            choices,
            usage,
        }
    }

    /// What was read, and `written`.
    pub(super) fn usage(&self, written: usize) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: written,
            total_tokens: self.prompt_tokens + written,
        }
    }

    /// The scores of what was said, where they were asked for.
    ///
    /// # Errors
    /// [`Refusal`] where a token is none.
    pub(super) fn logprobs(&self, said: &Said) -> Result<Option<Logprobs>, Refusal> {
        if !self.scored {
            return Ok(None);
        }
        let content = said.tokens.iter().map(|token| self.logprob(token));
        Ok(Some(Logprobs {
            content: content.collect::<Result<_, _>>()?,
        }))
    }

    fn logprob(&self, token: &ScoredToken) -> Result<Logprob, Refusal> {
        let mut texts = TokenTexts::behind(&self.state.model, &token.before)?;
        let mut scored = |id: u32, logprob: f32| {
            let token = texts.text(id)?;
            Ok::<_, Refusal>(Scored {
                bytes: bytes(&token),
                token,
                logprob,
            })
        };
        let chosen = scored(token.id, token.scores.log_probability)?;
        let others = token.scores.likeliest.iter();
        let others = others.map(|(id, logprob)| scored(*id, *logprob));
        Ok(Logprob {
            chosen,
            top_logprobs: others.collect::<Result<_, _>>()?,
        })
    }
}

/// `answers` to their ends, in their order. They are heard all at once, so that one that comes to a stop is not written on while
/// others are waited for.
async fn wholes(answers: Vec<Answer>) -> Result<Vec<Whole>, Refusal> {
    // Where it is dropped, so are the answers.
    let mut writing = JoinSet::new();
    for (number, answer) in answers.into_iter().enumerate() {
        writing.spawn(async move { (number, answer.whole().await) });
    }
    let mut wholes = BTreeMap::new();
    while let Some(written) = writing.join_next().await {
        let (number, whole) = written.map_err(|error| {
            tracing::error!("an answer failed: {error}");
            Refusal::ours()
        })?;
        wholes.insert(number, whole?);
    }
    Ok(wholes.into_values().collect())
}
