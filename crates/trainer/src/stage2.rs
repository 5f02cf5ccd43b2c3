//! Stage 2: generative learning behind a frozen language model.

use blip2::{LanguageModelConfig, LoadedLanguageModel, answer_settings, caption_settings, text_batch};
use blip2_core::TextExample;
use blip2_data::text::BertTokenizer;
use blip2_llm_adapters::LanguageTokenizer;
use blip2_objectives::Terms;
use blip2_qformer::{Bridge, TextBatch};
use burn::tensor::Device;

use crate::{Batch, Evaluator, HeldOut, HeldOutTexts, Objective, Row, Sighted, StepContext, TrainError};

/// Tokens of an answer that a long question leaves room for: as many as evaluation writes, and the end.
const ANSWER: usize = 11;

/// How pictures are put to the language model: the words in front of a caption, and around a question.
pub struct Prompts<'a> {
    tokenizer: &'a LanguageTokenizer,
    caption_prompt: &'a str,
    question_prompt: &'a str,
}

impl<'a> Prompts<'a> {
    /// Those of `config`, in the words of `tokenizer`.
    pub fn new(config: &'a LanguageModelConfig, tokenizer: &'a LanguageTokenizer) -> Self {
        Self {
            tokenizer,
            caption_prompt: &config.prompt,
            question_prompt: &config.question_prompt,
        }
    }

    /// Ids in front of a caption.
    ///
    /// # Errors
    /// [`TrainError::Tokenizer`] where the prompt cannot be encoded.
    pub fn caption_ids(&self) -> Result<Vec<u32>, TrainError> {
        Ok(self.tokenizer.encode_prompt(self.caption_prompt)?)
    }

    /// The words of a question, as they stand in front of its answer.
    pub fn question(&self, question: &str) -> String {
        self.question_prompt.replace("{}", question)
    }

    /// Ids of a question in the prompt's words.
    ///
    /// # Errors
    /// [`TrainError::Tokenizer`] where it cannot be encoded.
    pub fn question_ids(&self, question: &str) -> Result<Vec<u32>, TrainError> {
        Ok(self.tokenizer.encode_prompt(&self.question(question))?)
    }

    /// What the model is shown of `row`, and what it learns to write, cut to `max_tokens` where it is given: both together, or each
    /// for itself where an encoder reads the prompt.
    ///
    /// # Errors
    /// [`TrainError::Tokenizer`] where a text cannot be encoded.
    pub fn example(&self, row: &Row, max_tokens: Option<usize>) -> Result<TextExample, TrainError> {
        let given = self.tokenizer.encode_prompt(self.prompt(row))?;
        self.behind(given, row, max_tokens)
    }

    /// The same of a row that stands behind others in one text: what begins a text stands in front of the first alone.
    ///
    /// # Errors
    /// As for [`Prompts::example`].
    pub fn following(&self, row: &Row, max_tokens: Option<usize>) -> Result<TextExample, TrainError> {
        let given = self.tokenizer.encode(self.prompt(row))?;
        self.behind(given, row, max_tokens)
    }

    fn prompt<'r>(&'r self, row: &'r Row) -> &'r str {
        row.prompt.as_deref().unwrap_or(self.caption_prompt)
    }

    /// `row` with the ids of its prompt.
    fn behind(
        &self,
        mut given: Vec<u32>,
        row: &Row,
        max_tokens: Option<usize>,
    ) -> Result<TextExample, TrainError> {
        let (prompt, mut target) = (self.prompt(row), Vec::new());
        // A prompt that ends is a text of its own, the encoder's: its length is none of the decoder's.
        let end = self.tokenizer.end();
        let apart = end == self.tokenizer.end_of_text() && given.last() == Some(&end);
        let behind = if prompt.is_empty() { "" } else { " " };
        if prompt.is_empty() && !apart {
            // With nothing given, LAVIS has OPT's `</s>` in front of a text be learned, too.
            target = std::mem::take(&mut given);
        }
        // What follows words begins a word of its own.
        target.extend(self.tokenizer.encode(&format!("{behind}{}", row.text))?);
        target.push(self.tokenizer.end());
        if let Some(most) = max_tokens {
            match row.prompt {
                Some(_) if !apart => {
                    let most = most - target.len().min(ANSWER).min(most / 2);
                    cut_front(&mut given, most, self.tokenizer);
                }
                _ => cut(&mut given, most, self.tokenizer),
            }
            let taken = if apart { 0 } else { given.len() };
            cut(&mut target, most.saturating_sub(taken).max(1), self.tokenizer);
        }
        Ok(TextExample {
            prompt: given,
            target,
        })
    }
}

/// Cuts `ids` to the last `most`, what begins a text included: the words behind a question, which ask for the answer, stay.
fn cut_front(ids: &mut Vec<u32>, most: usize, tokenizer: &LanguageTokenizer) {
    let first = ids
        .first()
        .copied()
        .filter(|first| tokenizer.beginning() == Some(*first));
    let begins = first.iter().len();
    if ids.len() > most.max(begins) {
        ids.drain(begins..ids.len() - most.saturating_sub(begins));
    }
}

/// Cuts `ids` to `most`. The token behind a text that is no part of it (`</s>` of T5) stays, a line break goes, as in LAVIS.
fn cut(ids: &mut Vec<u32>, most: usize, tokenizer: &LanguageTokenizer) {
    if ids.len() <= most {
        return;
    }
    let last = ids.pop().filter(|last| *last == tokenizer.end_of_text());
    ids.truncate(most - last.iter().len().min(most));
    ids.extend(last);
}

/// Language modelling behind the bridge (paper section 3.3): the term `lm`.
pub struct GenerativeObjective<'a> {
    /// Frozen.
    pub language_model: &'a LoadedLanguageModel,
    /// What stands in front of captions.
    pub prompts: &'a Prompts<'a>,
    /// Longest text in tokens, prompt and special ones included; absent: not cut.
    pub max_text_tokens: Option<usize>,
    /// Cuts what the Q-Former reads beside the picture, where it reads a text.
    pub reader: Option<&'a BertTokenizer>,
    /// Neighbouring rows that are one text, pictures and words in turn: usually 1.
    pub interleaved: usize,
}

impl GenerativeObjective<'_> {
    /// What the Q-Former reads beside each picture.
    fn read(&self, batch: &Batch, device: &Device) -> Result<Option<TextBatch>, TrainError> {
        let Some(tokenizer) = self.reader else {
            return Ok(None);
        };
        let rows = batch.rows.iter();
        let texts: Vec<&str> = rows.map(|row| row.read.as_deref().unwrap_or_default()).collect();
        let most = self.max_text_tokens.unwrap_or(usize::MAX);
        Ok(Some(text_batch(tokenizer, &texts, most, device)?))
    }
}

impl<M: Sighted<Model = Bridge>> Objective<M> for GenerativeObjective<'_> {
    fn terms(&self, model: &M, batch: &Batch, _context: &StepContext<'_>) -> Result<Terms, TrainError> {
        let rows = batch.rows.iter().enumerate();
        let examples = rows
            .map(|(place, row)| match place.is_multiple_of(self.interleaved) {
                true => self.prompts.example(row, self.max_text_tokens),
                false => self.prompts.following(row, self.max_text_tokens),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let bridge = model.model();
        let features = model.features(batch, &batch.all())?;
        let read = self.read(batch, &bridge.qformer.device())?;
        let soft_prompt = bridge.instructed_prompt(features, read.as_ref())?;
        let frozen = self.language_model.model.as_ref();
        let adapted = model
            .adapters()
            .map(|adapters| adapters.attach(frozen))
            .transpose()?;
        let loss = adapted.as_deref().unwrap_or(frozen).interleaved_loss(
            soft_prompt,
            &examples,
            self.interleaved,
        )?;
        let mut terms = Terms::default();
        terms.add("lm", 1.0, loss);
        Ok(terms)
    }

    /// Captions, or answers where every row has a question. None where the Q-Former reads the question.
    fn evaluator<'a>(&'a self, held_out: HeldOut<'a>) -> Option<Box<dyn Evaluator<M> + 'a>> {
        if self.reader.is_some() {
            return None;
        }
        let asks = held_out.rows.iter().all(|row| row.answers);
        Some(Box::new(HeldOutTexts {
            samples: held_out,
            language_model: self.language_model,
            prompt: self.prompts.caption_prompt,
            settings: if asks {
                answer_settings()
            } else {
                caption_settings()
            },
        }))
    }
}
