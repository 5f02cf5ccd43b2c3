//! Stage 2: generative learning behind a frozen language model.

use blip2::{LanguageModelConfig, LoadedLanguageModel};
use blip2_core::TextExample;
use blip2_llm_adapters::LanguageTokenizer;
use blip2_objectives::{Terms, language_modelling_loss};
use blip2_qformer::Bridge;

use crate::{Batch, Objective, Row, StepContext, TrainError};

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

    /// What the model is shown of `row`, and what it learns to write.
    fn example(&self, row: &Row, max_tokens: Option<usize>) -> Result<TextExample, TrainError> {
        let prompt = row.prompt.as_deref().unwrap_or(self.caption_prompt);
        let (mut given, mut target) = (self.tokenizer.encode_prompt(prompt)?, Vec::new());
        let behind = if prompt.is_empty() { "" } else { " " };
        if prompt.is_empty() && given.last() != Some(&self.tokenizer.end()) {
            // With nothing given, LAVIS has OPT's `</s>` in front of a text be learned, too.
            target = std::mem::take(&mut given);
        }
        // What follows words begins a word of its own.
        target.extend(self.tokenizer.encode(&format!("{behind}{}", row.text))?);
        target.push(self.tokenizer.end());
        if let Some(most) = max_tokens {
            cut(&mut given, most, self.tokenizer);
            cut(
                &mut target,
                most.saturating_sub(given.len()).max(1),
                self.tokenizer,
            );
        }
        Ok(TextExample {
            prompt: given,
            target,
        })
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
}

impl Objective<Bridge> for GenerativeObjective<'_> {
    fn terms(&self, model: &Bridge, batch: &Batch, _context: &StepContext<'_>) -> Result<Terms, TrainError> {
        let examples = batch
            .rows
            .iter()
            .map(|row| self.prompts.example(row, self.max_text_tokens))
            .collect::<Result<Vec<_>, _>>()?;
        let loss = language_modelling_loss(
            model,
            self.language_model.model.as_ref(),
            batch.features.clone(),
            &examples,
        )?;
        let mut terms = Terms::default();
        terms.add("lm", 1.0, loss);
        Ok(terms)
    }
}
