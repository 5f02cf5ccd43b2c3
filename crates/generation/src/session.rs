//! Continuous batching: texts that join, are stepped together, and are over at any time, each with settings of its own.

use std::sync::Arc;

use blip2_core::{OpenTexts, Segment};

use crate::distribution::Logits;
use crate::writing::{Start, Stepped, Writing, advance, step_all};
use crate::{Generated, GenerationConfig, GenerationError, Token};

/// What is to be written, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the model reads first.
    pub prompt: Vec<Segment>,
    /// The ids that repetition penalty and n-gram rule count as written before: usually those of the prompt.
    pub history: Vec<u32>,
    /// What decides the draws, beside the seed.
    pub stream: u64,
    /// How it is written.
    pub settings: GenerationConfig,
    /// Whether tokens come with their scores, and with how many of the likeliest others. Beams have none.
    pub scores: Option<usize>,
}

/// Names a request from when it joins to when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(u64);

/// What came of a step.
#[derive(Debug)]
pub enum Event {
    /// A token was chosen: in greedy search and sampling at once, with beams at the end.
    Token {
        /// Of which request.
        row: RowId,
        /// Of which of its `num_return_sequences` texts.
        text: usize,
        /// The token.
        token: Token,
    },
    /// A request is over: its texts, the best of beams first, or why there are none.
    Done {
        /// Which.
        row: RowId,
        /// What was written.
        texts: Result<Vec<Generated>, GenerationError>,
    },
}

struct Row {
    id: RowId,
    writing: Writing,
}

/// Texts over one model. Requests join between steps ([`Session::admit`]), each step adds a token to all of them, and a request
/// that is over, or given up ([`Session::retire`]), makes room at once.
///
/// What is written for a request depends on it alone, not on who shares the steps with it, as far as rounding goes: products of
/// more rows may be summed up in another order. With weights in single precision that is some 1e-7 of a logit, and ids are the
/// same; packed weights are rounded to bfloat16 where many rows share a product.
pub struct Session<'a> {
    texts: Box<dyn OpenTexts + 'a>,
    rows: Vec<Row>,
    next: u64,
}

impl<'a> Session<'a> {
    /// A session without a request over `texts` ([`blip2_core::LanguageModel::open`]), of which none is open.
    pub fn new(texts: Box<dyn OpenTexts + 'a>) -> Self {
        Self {
            texts,
            rows: Vec::new(),
            next: 0,
        }
    }

    /// Reads the prompt of `request`, which takes part in the steps from now on.
    ///
    /// # Errors
    /// [`GenerationError`] for settings that contradict themselves, a prompt that the model refuses, and more tokens than there
    /// is room for behind it ([`Session::room`]). The other requests are as before.
    pub fn admit(&mut self, request: Request) -> Result<RowId, GenerationError> {
        let Request {
            prompt,
            history,
            stream,
            settings,
            scores,
        } = request;
        settings.check()?;
        let wanted = settings.max_new_tokens;
        if let Some(room) = self.room(&prompt).filter(|room| *room < wanted) {
            return Err(GenerationError::NoRoom { room, wanted });
        }
        let [place, _] = self.texts.logits().dims();
        self.texts.admit(&prompt)?;
        let id = RowId(self.next);
        self.next += 1;
        let start = Start {
            row: 0,
            place,
            history,
            stream,
            scores,
        };
        self.rows.push(Row {
            id,
            writing: Writing::new(start, Arc::new(settings)),
        });
        Ok(id)
    }

    /// Tokens that can be written behind `prompt`; `None` where there is no limit.
    pub fn room(&self, prompt: &[Segment]) -> Option<usize> {
        self.texts.room(prompt)
    }

    /// Adds a token to each text; `hear` gets what came of it.
    ///
    /// # Errors
    /// [`GenerationError::Model`] where the model fails, which ends all requests.
    pub fn step(&mut self, hear: &mut dyn FnMut(Event)) -> Result<(), GenerationError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let logits = Logits::of(self.texts.as_ref());
        let writings = self.rows.iter_mut().map(|row| &mut row.writing).collect();
        let mut stepped = step_all(writings, &logits).into_iter();
        self.rows.retain(|Row { id, .. }| {
            let row = *id;
            let Some(Stepped { heard, written }) = stepped.next() else {
                return true;
            };
            let tokens = heard.into_iter();
            tokens.for_each(|(text, token)| hear(Event::Token { row, text, token }));
            match written.transpose() {
                None => true,
                Some(texts) => {
                    hear(Event::Done { row, texts });
                    false
                }
            }
        });
        let mut writings = self.rows.iter_mut().map(|row| &mut row.writing);
        let advanced = advance(self.texts.as_mut(), &mut writings);
        if advanced.is_err() {
            self.rows.clear();
            self.texts.advance(&[], &[])?;
        }
        Ok(advanced?)
    }

    /// Gives a request up. False where it is over already.
    ///
    /// # Errors
    /// [`GenerationError::Model`] where the model fails.
    pub fn retire(&mut self, row: RowId) -> Result<bool, GenerationError> {
        let before = self.rows.len();
        self.rows.retain(|other| other.id != row);
        if self.rows.is_empty() && before > 0 {
            // The others' memory is freed by the next step.
            self.texts.advance(&[], &[])?;
        }
        Ok(self.rows.len() < before)
    }

    /// Requests that are being written.
    pub fn requests(&self) -> usize {
        self.rows.len()
    }

    /// Rows of the model that they take: each of its beams, or its texts, is one.
    pub fn rows(&self) -> usize {
        self.rows.iter().map(|row| row.writing.width()).sum()
    }
}
