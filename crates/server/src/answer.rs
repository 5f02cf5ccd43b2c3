//! One text on its way to a client: tokens become words, up to a stop, past the filter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use blip2::{Finding, Generated, Request, TextStream, Token, whole_words};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use utoipa::ToSchema;

use crate::engine::Heard;
use crate::error::Refusal;
use crate::state::State;
use crate::tickets::Ticket;
use crate::withheld::{ScoredToken, Withheld};

/// Ids in front of a token on which its text may depend: a space, a character in several tokens.
const CONTEXT: usize = 8;

/// Why a text is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finish {
    /// It ended by itself, or came to a stop.
    Stop,
    /// It reached the most tokens.
    Length,
    /// The filter found something; the rest is kept back.
    ContentFilter,
}

/// How the document of the API describes a [`Finding`], whose crate knows nothing of such documents.
#[derive(ToSchema)]
#[schema(as = Finding)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) struct DescribedFinding {
    /// Which kind of thing; never what was said.
    category: String,
}

/// What was written since one last listened, as far as it is told.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// The tokens of it, where their scores were asked for.
    pub(crate) tokens: Vec<ScoredToken>,
}

/// A text from its beginning to its end.
pub(crate) struct Whole {
    pub(crate) said: Said,
    /// Tokens that were written.
    pub(crate) tokens: usize,
    pub(crate) finish: Option<Finish>,
    pub(crate) finding: Option<Finding>,
}

/// A text that is being written. When it is dropped, the model stops writing it.
pub(crate) struct Answer {
    state: Arc<State>,
    heard: UnboundedReceiver<Heard>,
    ends: Vec<u32>,
    ids: Vec<u32>,
    most: usize,
    stream: TextStream,
    withheld: Withheld,
    finish: Option<Finish>,
    finding: Option<Finding>,
}

impl Answer {
    /// Begins to write.
    ///
    /// # Errors
    /// [`Refusal`] where the model does not run.
    pub(crate) fn begin(
        state: &Arc<State>,
        request: Request,
        stops: Vec<String>,
        deadline: Instant,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            state: state.clone(),
            ends: request.settings.end_tokens.clone(),
            most: request.settings.max_new_tokens,
            ids: Vec::new(),
            heard: state.engine.write(request, deadline)?,
            stream: TextStream::new(stops),
            withheld: Withheld::default(),
            finish: None,
            finding: None,
        })
    }

    /// What comes next; nothing once it is over.
    ///
    /// # Errors
    /// [`Refusal`] where the text cannot be written, or takes too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Said>, Refusal> {
        if self.finish.is_some() {
            return Ok(None);
        }
        match self.heard.recv().await {
            Some(Heard::Token(token)) => self.hear(token).map(Some),
            Some(Heard::Done(texts)) => self.end(texts).map(Some),
            Some(Heard::Failed(refusal)) => Err(refusal),
            // The engine is gone.
            None => Err(Refusal::ours()),
        }
    }

    /// The whole text, as [`Answer::next`] gives it. The model stops writing it once it is over.
    ///
    /// # Errors
    /// As for [`Answer::next`].
    pub(crate) async fn whole(mut self) -> Result<Whole, Refusal> {
        let mut whole = Said::default();
        while let Some(said) = self.next().await? {
            whole.text += &said.text;
            whole.tokens.extend(said.tokens);
        }
        if self.finding.is_some() {
            // Nothing of it was sent yet: all is kept back.
            whole = Said::default();
        }
        Ok(Whole {
            said: whole,
            tokens: self.tokens(),
            finish: self.finish,
            finding: self.finding,
        })
    }

    /// Why it is over, once it is.
    pub(crate) fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// What the filter found.
    pub(crate) fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// Tokens written so far.
    pub(crate) fn tokens(&self) -> usize {
        self.ids.len()
    }

    fn hear(&mut self, token: Token) -> Result<Said, Refusal> {
        let place = self.ids.len();
        self.ids.push(token.id);
        let text = self.state.model.decode(&self.ids)?;
        self.stream.push(&text);
        let stopped = self.stream.stopped();
        if stopped {
            self.finish = Some(Finish::Stop);
        }
        let is_text = !stopped && !self.ends.contains(&token.id);
        if let Some(scores) = token.scores.filter(|_| is_text) {
            let before = self.ids[place.saturating_sub(CONTEXT)..place].to_vec();
            let scored = ScoredToken {
                id: token.id,
                scores,
                before,
            };
            let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
            self.withheld.keep(whole.trim().len(), scored);
        }
        Ok(self.checked(stopped))
    }

    fn end(&mut self, texts: Vec<Generated>) -> Result<Said, Refusal> {
        let ids = texts.into_iter().next().map_or(Vec::new(), |text| text.ids);
        let ended = ids.last().is_some_and(|last| self.ends.contains(last));
        self.finish = Some(match ids.len() >= self.most && !ended {
            true => Finish::Length,
            false => Finish::Stop,
        });
        self.ids = ids;
        let text = self.state.model.decode(&self.ids)?;
        self.stream.finish(&text);
        if self.stream.stopped() {
            self.finish = Some(Finish::Stop);
        }
        Ok(self.checked(true))
    }

    /// What can be told by now, unless with it the text says what it must not. The filter sees whole words alone: what looks like
    /// one of its own may be the beginning of another, and is not told before it was looked at.
    fn checked(&mut self, over: bool) -> Said {
        let said = self.stream.said();
        let text = match over || self.state.options.filter.is_none() {
            true => said,
            false => whole_words(said),
        };
        if self.withheld.is_news(text) {
            self.finding = self.state.find("text", text);
            if self.finding.is_some() {
                self.finish = Some(Finish::ContentFilter);
                return Said::default();
            }
        }
        // Tokens of a stop are no part of the text.
        let all = over && !self.stream.stopped();
        self.withheld.tell(text, all)
    }
}

impl State {
    /// The texts of `request`, once they are all written.
    ///
    /// # Errors
    /// As for [`Answer::next`].
    pub(crate) async fn texts(&self, request: Request, ticket: &Ticket) -> Result<Vec<Generated>, Refusal> {
        let mut heard = self.engine.write(request, ticket.deadline)?;
        loop {
            match heard.recv().await {
                Some(Heard::Token(..)) => {}
                Some(Heard::Done(texts)) => return Ok(texts),
                Some(Heard::Failed(refusal)) => return Err(refusal),
                None => return Err(Refusal::ours()),
            }
        }
    }

    /// What the filter finds in `text`, which is a `prompt` or a `text`; it is counted.
    pub(crate) fn find(&self, place: &'static str, text: &str) -> Option<Finding> {
        let finding = self.options.filter.as_ref()?.find(text)?;
        self.metrics.found(place, &finding.category);
        Some(finding)
    }

    /// # Errors
    /// [`Refusal`] where texts are too long together, or the filter finds something.
    pub(crate) fn check_texts<'t>(
        &self,
        texts: impl Iterator<Item = &'t str> + Clone,
    ) -> Result<(), Refusal> {
        let characters: usize = texts.clone().map(|text| text.chars().count()).sum();
        let most = self.options.limits.characters;
        if characters > most {
            return Err(Refusal::invalid(format!(
                "the texts have {characters} characters together; this server takes {most}"
            )));
        }
        let mut found = BTreeMap::new();
        for finding in texts.filter_map(|text| self.find("prompt", text)) {
            *found.entry(finding.category).or_insert(0) += 1;
        }
        match found.into_keys().next() {
            None => Ok(()),
            Some(category) => Err(Refusal::new(
                axum::http::StatusCode::BAD_REQUEST,
                "content_filter",
                format!(
                    "the server's filter keeps this from the model ({category}); it can be run with --no-safety"
                ),
            )),
        }
    }
}
