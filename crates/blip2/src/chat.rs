//! A conversation about a picture.

use std::borrow::Borrow;
use std::str::FromStr;

use blip2_core::ModelError;
use blip2_data::pixels::RgbImage;
use blip2_data::text;
use blip2_generation::{GenerationConfig, GenerationError, Request};
use blip2_llm_adapters::TokenizerError;
use serde::Serialize;
use thiserror::Error;

use crate::encoded::EncodedPicture;
use crate::recollection::{Reading, Recollection};
use crate::streams::digest;
use crate::{Blip2, Blip2Error, Piece, Written};

/// The paper's dialogue (figure 4), and LAVIS's.
const DIALOGUE: &str = "Question: {} Answer:";
/// The place of the question.
const PLACE: &str = "{}";

/// A question and what was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// As it was put.
    pub question: String,
    /// As it was written.
    pub answer: String,
}

/// How a conversation is put to the language model, behind the soft prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Template {
    /// The paper's dialogue, in the words of this prompt with `{}` for a question:
    /// `Question: a? Answer: b. Question: c? Answer:`.
    Dialogue(String),
    /// InstructBLIP's: a question stands for itself, with others before it in the form of a dialogue.
    Instruction,
    /// That of Qwen and SmolLM2, without a message of the system: `<|im_start|>user`.
    ChatMl,
    /// That of Gemma: `<start_of_turn>user`.
    Gemma,
}

/// A name that is no template's.
#[derive(Debug, Error)]
#[error("`{0}` is no template: there are dialogue, instruction, qwen and gemma")]
pub struct UnknownTemplate(String);

impl FromStr for Template {
    type Err = UnknownTemplate;

    /// As it is named on command lines.
    fn from_str(name: &str) -> Result<Self, UnknownTemplate> {
        match name {
            "dialogue" => Ok(Self::Dialogue(DIALOGUE.to_owned())),
            "instruction" => Ok(Self::Instruction),
            "qwen" => Ok(Self::ChatMl),
            "gemma" => Ok(Self::Gemma),
            other => Err(UnknownTemplate(other.to_owned())),
        }
    }
}

impl Template {
    /// What the language model reads: `turns` and `question`, up to where the answer begins.
    pub fn prompt(&self, turns: &[Turn], question: &str) -> String {
        self.texts(turns, question).concat()
    }

    /// The same cut in front of each question, where a picture may stand: a text for each of `turns`, and one for `question`.
    pub fn texts(&self, turns: &[Turn], question: &str) -> Vec<String> {
        let (prompt, between) = match self {
            Self::Instruction if turns.is_empty() => (PLACE, ""),
            Self::Dialogue(prompt) => (prompt.as_str(), ". "),
            Self::Instruction => (DIALOGUE, ". "),
            Self::ChatMl => (
                "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
                "<|im_end|>\n",
            ),
            Self::Gemma => (
                "<start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n",
                "<end_of_turn>\n",
            ),
        };
        let asked = |question: &str| prompt.replace(PLACE, question);
        let said = turns.iter().map(|Turn { question, answer }| {
            let answer = match self {
                Self::Dialogue(_) | Self::Instruction => format!(" {}", answer.trim_end_matches('.')),
                Self::ChatMl | Self::Gemma => answer.clone(),
            };
            asked(question) + &answer + between
        });
        said.chain([asked(question)]).collect()
    }

    /// What ends an answer in place of the model's own end, where the template has something.
    fn end(&self) -> Option<&'static str> {
        match self {
            Self::Dialogue(_) | Self::Instruction => None,
            Self::ChatMl => Some("<|im_end|>"),
            Self::Gemma => Some("<end_of_turn>"),
        }
    }
}

/// A picture, what was said of it so far, and the model that says it: borrowed, or shared with others. A picture is encoded once, and
/// of a conversation that goes on a decoder (OPT, Llama) reads what is new alone ([`Chat::reading`]).
pub struct Chat<M> {
    model: M,
    template: Template,
    picture: Option<EncodedPicture>,
    turns: Vec<Turn>,
    recollection: Recollection,
}

impl Blip2 {
    /// The template that the model's own question prompt is written in: what it was trained with.
    pub fn chat_template(&self) -> Template {
        let prompt = &self.usage.question_prompt;
        if prompt == PLACE {
            Template::Instruction
        } else if prompt.contains("<|im_start|>") {
            Template::ChatMl
        } else if prompt.contains("<start_of_turn>") {
            Template::Gemma
        } else if self.usage.trained_here && prompt.contains(PLACE) {
            Template::Dialogue(prompt.clone())
        } else {
            Template::Dialogue(DIALOGUE.to_owned())
        }
    }

    /// How answers are written in a conversation where nothing else is asked for: word by word, the likeliest each time.
    pub fn chat_settings(&self) -> GenerationConfig {
        GenerationConfig {
            num_beams: 1,
            max_new_tokens: 64,
            length_penalty: 1.0,
            ..self.answer_settings().clone()
        }
    }

    /// `question` as `template` puts it: that of a model of our own is cleaned as in its training.
    pub fn chat_question(&self, template: &Template, question: &str) -> String {
        match template {
            Template::Dialogue(_) if self.usage.trained_here => text::question(question),
            _ => question.trim().to_owned(),
        }
    }

    /// The ids that end an answer where `template` has a token for that; where it has none, the model's settings say.
    ///
    /// # Errors
    /// [`Blip2Error::Tokenizer`] where the vocabulary has not that token; as for [`Blip2::caption`].
    pub fn chat_ends(&self, template: &Template) -> Result<Option<Vec<u32>>, Blip2Error> {
        let Some(end) = template.end() else {
            return Ok(None);
        };
        let tokenizer = &self.language_model()?.tokenizer;
        match tokenizer.encode(end)?[..] {
            [id] => Ok(Some(vec![id, tokenizer.end_of_text()])),
            _ => Err(TokenizerError::Text {
                action: format!("take `{end}` for one token"),
                reason: "the language model was not trained with this template".to_owned(),
            }
            .into()),
        }
    }

    /// A conversation that has not begun.
    pub fn chat(&self, template: Template) -> Chat<&Self> {
        Chat::new(self, template)
    }
}

impl<M: Borrow<Blip2>> Chat<M> {
    /// A conversation with `model` that has not begun.
    pub fn new(model: M, template: Template) -> Self {
        Self {
            model,
            template,
            picture: None,
            turns: Vec::new(),
            recollection: Recollection::new(),
        }
    }

    /// Begins anew, about another picture where one is given.
    ///
    /// # Errors
    /// [`Blip2Error`] where the picture does not fit the encoder; then all is as before.
    pub fn begin(&mut self, picture: Option<&RgbImage>) -> Result<(), Blip2Error> {
        if let Some(picture) = picture {
            self.picture = Some(self.recollection.encode(self.model.borrow(), picture)?);
        }
        self.turns.clear();
        Ok(())
    }

    /// Takes the last question and its answer back, as if they had not been said; what they were.
    pub fn take_back(&mut self) -> Option<Turn> {
        self.turns.pop()
    }

    /// What was said since it began, as far as the model still reads it.
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// How much of what the last question put to the language model it had to read anew. Nothing is known before to an
    /// encoder-decoder model (FlanT5), which reads its prompt in both directions, nor behind a Q-Former that reads the question beside
    /// the picture (InstructBLIP), which makes another soft prompt of it each time.
    pub fn reading(&self) -> Reading {
        self.recollection.reading()
    }

    /// Answers `question`; `hear` gets the text piece by piece, as in [`Blip2::caption_aloud`]. Where the conversation outgrows
    /// what the model can read, its first turns are forgotten; where that shows in the middle of an answer, the question fails and may
    /// be asked again. A question that fails leaves no trace.
    ///
    /// # Errors
    /// [`Blip2Error::NoPicture`] without a picture; [`Blip2Error::Tokenizer`] where the vocabulary has not what the template is
    /// made of; else as for [`Blip2::caption`].
    pub fn ask(
        &mut self,
        question: &str,
        settings: &GenerationConfig,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Written, Blip2Error> {
        let model = self.model.borrow();
        let picture = self.picture.as_ref().ok_or(Blip2Error::NoPicture)?;
        let question = model.chat_question(&self.template, question);
        let mut settings = settings.clone();
        if let Some(ends) = model.chat_ends(&self.template)? {
            settings.end_tokens = ends;
        }
        let mut silent = true;
        let written = loop {
            let prompt = self.template.prompt(&self.turns, &question);
            // Without the white space around it, which the answer does not have either.
            let mut kept = String::new();
            let mut hear = |piece: &str| {
                kept += piece;
                let said = if silent { kept.trim_start() } else { &kept };
                let text = said.trim_end();
                if !text.is_empty() {
                    silent = false;
                    hear(text);
                    kept = said[text.len()..].to_owned();
                }
            };
            let stream = digest(&[&picture.content, prompt.as_bytes()]);
            let pieces = [Piece::Picture(picture.clone()), Piece::Text(prompt)];
            let request = model.request(&pieces, &question, &settings, 0, None)?;
            let request = Request { stream, ..request };
            let answer = model.heard(&mut hear, |callback| {
                self.recollection.write(model, &request, callback)
            });
            if answer.as_ref().is_err_and(is_outgrown) && !self.turns.is_empty() {
                self.turns.remove(0);
                if silent {
                    continue;
                }
            }
            break answer?;
        };
        self.turns.push(Turn {
            question,
            answer: written.text.clone(),
        });
        Ok(written)
    }
}

/// Whether a text was too long for the model, from the beginning or in the course of writing.
fn is_outgrown(error: &Blip2Error) -> bool {
    matches!(
        error,
        Blip2Error::Model(ModelError::Context { .. })
            | Blip2Error::Generation(GenerationError::Model(ModelError::Context { .. }))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns() -> Vec<Turn> {
        let turn = |question: &str, answer: &str| Turn {
            question: question.to_owned(),
            answer: answer.to_owned(),
        };
        vec![
            turn("which city is this?", "singapore"),
            turn("why?", "it has a statue."),
        ]
    }

    #[test]
    fn a_dialogue_reads_as_that_of_lavis() {
        let template = Template::Dialogue(DIALOGUE.to_owned());
        assert_eq!(template.prompt(&[], "who?"), "Question: who? Answer:");
        assert_eq!(
            template.prompt(&turns(), "who?"),
            "Question: which city is this? Answer: singapore. Question: why? Answer: it has a statue. Question: who? Answer:"
        );
        assert_eq!(Template::Instruction.prompt(&[], "Describe it."), "Describe it.");
        assert_eq!(
            Template::Instruction.prompt(&turns()[..1], "why?"),
            "Question: which city is this? Answer: singapore. Question: why? Answer:"
        );
    }

    #[test]
    fn chat_templates_are_those_of_their_families() {
        assert_eq!(
            Template::ChatMl.prompt(&turns()[1..], "who?"),
            "<|im_start|>user\nwhy?<|im_end|>\n<|im_start|>assistant\nit has a statue.<|im_end|>\n\
             <|im_start|>user\nwho?<|im_end|>\n<|im_start|>assistant\n"
        );
        assert_eq!(
            Template::Gemma.prompt(&turns()[1..], "who?"),
            "<start_of_turn>user\nwhy?<end_of_turn>\n<start_of_turn>model\nit has a statue.<end_of_turn>\n\
             <start_of_turn>user\nwho?<end_of_turn>\n<start_of_turn>model\n"
        );
    }
}
