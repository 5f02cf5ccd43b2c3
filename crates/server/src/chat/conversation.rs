//! From messages to what the model reads: pictures in front of the question that they came with, in the words that the model was
//! trained with.

use std::sync::Arc;

use blip2::{EncodedPicture, GenerationConfig, Piece, Request, Template, Turn};

use super::request::{Content, Message, Part};
use crate::error::Refusal;
use crate::state::State;

/// What was said.
pub(super) struct Conversation {
    pub(super) template: Template,
    /// What stands in front of everything.
    system: String,
    /// Questions with their answers, the last without one.
    turns: Vec<Turn>,
    /// The pictures of each turn, by their addresses.
    pictures: Vec<Vec<String>>,
}

impl Conversation {
    /// # Errors
    /// [`Refusal`] where messages are in no order, too many, about nothing, or say what they must not.
    pub(super) fn read(state: &State, messages: Vec<Message>) -> Result<Self, Refusal> {
        let limits = &state.options.limits;
        state.check_count("messages", messages.len(), limits.texts)?;
        let mut this = Self {
            template: state.model.chat_template(),
            system: String::new(),
            turns: Vec::new(),
            pictures: Vec::new(),
        };
        let mut answered = true;
        for (index, message) in messages.into_iter().enumerate() {
            let place = format!("messages[{index}]");
            match message {
                Message::System { content } if this.turns.is_empty() => {
                    append(&mut this.system, &text_only(content, &place)?)
                }
                Message::System { .. } => {
                    return Err(Refusal::parameter(
                        &place,
                        "a message of the system stands in front of all others",
                    ));
                }
                Message::User { content } => {
                    if answered {
                        this.turns.push(Turn::default());
                        this.pictures.push(Vec::new());
                        answered = false;
                    }
                    this.ask(content);
                }
                Message::Assistant { content } => match this.turns.last_mut().filter(|_| !answered) {
                    Some(turn) => {
                        let content = content.unwrap_or_else(|| Content::Text(String::new()));
                        turn.answer = text_only(content, &place)?;
                        answered = true;
                    }
                    None => {
                        return Err(Refusal::parameter(
                            &place,
                            "an answer follows a message of the user",
                        ));
                    }
                },
            }
        }
        if answered {
            return Err(Refusal::parameter("messages", "the last message is the user's"));
        }
        let pictures = this.pictures.iter().map(Vec::len).sum();
        if pictures == 0 {
            let message = "there is no picture to talk about: a message needs a part \
                           {\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/...\"}}";
            return Err(Refusal::parameter("messages", message));
        }
        state.check_count("pictures", pictures, limits.pictures)?;
        for turn in &mut this.turns {
            turn.question = state.model.chat_question(&this.template, &turn.question);
        }
        let said = this
            .turns
            .iter()
            .flat_map(|turn| [turn.question.as_str(), turn.answer.as_str()]);
        state.check_texts(said.chain([this.system.as_str()]))?;
        Ok(this)
    }

    fn ask(&mut self, content: Content) {
        let (Some(turn), Some(pictures)) = (self.turns.last_mut(), self.pictures.last_mut()) else {
            return;
        };
        match content {
            Content::Text(text) => append(&mut turn.question, &text),
            Content::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text { text } => append(&mut turn.question, &text),
                        Part::ImageUrl { image_url } => pictures.push(image_url.url),
                    }
                }
            }
        }
    }

    /// What the engine takes, `count` times with other draws.
    ///
    /// # Errors
    /// [`Refusal`] where a picture is none, or the text cannot be read.
    pub(super) async fn requests(
        self,
        state: &Arc<State>,
        settings: GenerationConfig,
        count: usize,
        scores: Option<usize>,
    ) -> Result<Vec<Request>, Refusal> {
        let mut encoded = Vec::with_capacity(self.pictures.len());
        for urls in self.pictures {
            let mut pictures = Vec::with_capacity(urls.len());
            for url in urls {
                pictures.push(state.encoded_for_text(url).await?);
            }
            encoded.push(pictures);
        }
        let (template, system, turns) = (self.template, self.system, self.turns);
        let requests = state.work(move |state| {
            let question = turns.last().map_or("", |turn| turn.question.as_str());
            let pieces = pieces(&template, &system, &turns, encoded);
            (0..count as u64)
                .map(|number| {
                    Ok(state
                        .model
                        .request(&pieces, question, &settings, number, scores)?)
                })
                .collect()
        });
        requests.await
    }
}

/// Pictures and texts in the order in which the model reads them. Texts with no picture in between are one.
fn pieces(
    template: &Template,
    system: &str,
    turns: &[Turn],
    pictures: Vec<Vec<EncodedPicture>>,
) -> Vec<Piece> {
    let (last, before) = match turns {
        [before @ .., last] => (last, before),
        [] => return Vec::new(),
    };
    let mut texts = template.texts(before, &last.question);
    if let Some(first) = texts.first_mut().filter(|_| !system.is_empty()) {
        first.insert_str(0, &format!("{system} "));
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for (text, pictures) in texts.into_iter().zip(pictures) {
        pieces.extend(pictures.into_iter().map(Piece::Picture));
        match pieces.last_mut() {
            Some(Piece::Text(before)) => *before += &text,
            _ => pieces.push(Piece::Text(text)),
        }
    }
    pieces
}

/// The text of a message that has no pictures.
fn text_only(content: Content, place: &str) -> Result<String, Refusal> {
    let parts = match content {
        Content::Text(text) => return Ok(text),
        Content::Parts(parts) => parts,
    };
    let mut whole = String::new();
    for part in parts {
        match part {
            Part::Text { text } => append(&mut whole, &text),
            Part::ImageUrl { .. } => return Err(Refusal::parameter(place, "only the user shows pictures")),
        }
    }
    Ok(whole)
}

/// Adds `more` behind `text`.
fn append(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more.trim());
}
