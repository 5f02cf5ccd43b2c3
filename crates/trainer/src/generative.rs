//! Stage 2: generative learning behind the frozen language model.

use blip2_core::TextExample;
use blip2_data::Stream;
use blip2_data::scenes::{Question, Scene};
use blip2_llm_adapters::{LanguageTokenizer, LoadedLanguageModel};
use blip2_objectives::Bridge;
use burn::tensor::Device;

use crate::corpus::Corpus;
use crate::representation::{QUERY_TOKENS, from_bert};
use crate::training::{Origin, StepLoss, Task};
use crate::{Recipe, StageRecipe, TrainError};

/// How scenes are put to the language model.
pub(crate) struct Prompts<'a> {
    pub(crate) tokenizer: &'a LanguageTokenizer,
    pub(crate) caption_prompt: Vec<u32>,
    /// A caption that follows words begins a word of its own.
    before_caption: &'static str,
    question_prompt: &'a str,
}

impl<'a> Prompts<'a> {
    pub(crate) fn new(recipe: &'a Recipe, tokenizer: &'a LanguageTokenizer) -> Result<Self, TrainError> {
        Ok(Self {
            tokenizer,
            caption_prompt: tokenizer.encode_prompt(&recipe.language_model.prompt)?,
            before_caption: if recipe.language_model.prompt.is_empty() {
                ""
            } else {
                " "
            },
            question_prompt: &recipe.language_model.question_prompt,
        })
    }

    /// Ids of a question in the prompt's words.
    pub(crate) fn question(&self, question: &str) -> Result<Vec<u32>, TrainError> {
        Ok(self
            .tokenizer
            .encode_prompt(&self.question_prompt.replace("{}", question))?)
    }

    fn caption_example(&self, scene: &Scene) -> Result<TextExample, TrainError> {
        Ok(TextExample {
            prompt: self.caption_prompt.clone(),
            target: self.ended(&format!("{}{}", self.before_caption, scene.caption))?,
        })
    }

    fn answer_example(&self, question: &Question) -> Result<TextExample, TrainError> {
        // The answer follows "Answer:" as a word of its own.
        let target = self.ended(&format!(" {}", question.answer))?;
        Ok(TextExample {
            prompt: self.question(&question.question)?,
            target,
        })
    }

    fn ended(&self, text: &str) -> Result<Vec<u32>, TrainError> {
        let mut ids = self.tokenizer.encode(text)?;
        ids.push(self.tokenizer.end());
        Ok(ids)
    }
}

/// Captions, and questions at a fixed share, behind the bridge.
pub(crate) struct GenerativeTask<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) stage: &'a StageRecipe,
    pub(crate) language_model: &'a LoadedLanguageModel,
    pub(crate) prompts: &'a Prompts<'a>,
    pub(crate) questions: f64,
    pub(crate) from_representation: bool,
    pub(crate) seed: u64,
    pub(crate) device: Device,
}

impl Task<Bridge> for GenerativeTask<'_> {
    fn loss(&mut self, model: &Bridge, step: u64) -> Result<StepLoss, TrainError> {
        let indices = self.corpus.batch(self.seed ^ 2, self.stage.batch, step)?;
        let mut stream = Stream::new(self.seed, "stage 2 texts", step);
        let examples = indices
            .iter()
            .map(|index| {
                let scene = &self.corpus.scenes[*index];
                if stream.chance(self.questions as f32) && !scene.questions.is_empty() {
                    self.prompts.answer_example(stream.pick(&scene.questions))
                } else {
                    self.prompts.caption_example(scene)
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let features = self.corpus.features.batch(&indices, &self.device)?;
        let total = model.loss(self.language_model.model.as_ref(), features, &examples)?;
        Ok(StepLoss {
            total,
            terms: Vec::new(),
        })
    }

    /// After stage 1 all of the bridge is pretrained but the projection; without it, what BERT gave.
    fn origin(&self, path: &str) -> Origin {
        match path {
            QUERY_TOKENS => Origin::Queries,
            _ if !self.from_representation => from_bert(path),
            _ if path.starts_with("projection.") => Origin::New,
            _ => Origin::Pretrained,
        }
    }
}
