//! A model composed of parts that somebody made, whatever files they came from.

use std::path::PathBuf;

use blip2_core::{LanguageModel, ModelError, VisionEncoder};
use blip2_data::pixels::ImageProcessor;
use blip2_data::text::BertTokenizer;
use blip2_llm_adapters::{LanguageTokenizer, LoadedLanguageModel};
use blip2_qformer::{Bridge, RepresentationModel};
use burn::module::Module;

use crate::lazy::LazyLanguageModel;
use crate::model::{LanguageBridge, Representation};
use crate::usage::Usage;
use crate::{Blip2, Blip2Error, LoadedEncoder, Reads, answer_settings, caption_settings};

/// What messages call the place of a model that was not loaded from a folder.
const HERE: &str = "memory";
/// Longest text of the Q-Former, as LAVIS has it.
const MAX_TEXT_TOKENS: usize = 32;

impl Blip2 {
    /// A model whose frozen `encoder`, fed by `processor`, stands in front of a trained `bridge`, and whose frozen
    /// `language_model`, with its `tokenizer`, stands behind it. Captions have no prompt, and questions that of OPT
    /// ([`Blip2::with_prompts`]); what stage 1 trained can be added ([`Blip2::with_representation`]).
    ///
    /// # Errors
    /// [`Blip2Error::Model`] where one part is not as wide as its neighbour reads, or the tokenizer knows more ids than the
    /// language model.
    pub fn from_parts(
        encoder: Box<dyn VisionEncoder>,
        bridge: Bridge,
        language_model: Box<dyn LanguageModel>,
        tokenizer: LanguageTokenizer,
        processor: ImageProcessor,
    ) -> Result<Self, Blip2Error> {
        let [hidden, _] = bridge.projection.weight.lazy_shape().dims();
        fits(
            "image features",
            encoder.width(),
            bridge.qformer.config().encoder_hidden_size,
        )?;
        fits("soft prompt", hidden, language_model.hidden_size())?;
        let (ids, rows) = (tokenizer.text_vocabulary(), language_model.vocabulary_size());
        if ids > rows {
            return Err(ModelError::Invalid(format!(
                "the tokenizer has {ids} ids of text, but the language model only {rows}: they belong to different models"
            ))
            .into());
        }
        let bridge = bridge.valid();
        Ok(Self {
            folder: PathBuf::from(HERE),
            device: bridge.projection.weight.lazy_device(),
            encoder: LoadedEncoder { encoder, processor },
            representation: None,
            bridge: Some(LanguageBridge {
                bridge,
                instructions: None,
                language_model: LazyLanguageModel::Loaded(Box::new(LoadedLanguageModel {
                    model: language_model,
                    tokenizer,
                })),
            }),
            usage: Usage {
                caption_prompt: String::new(),
                question_prompt: "Question: {} Answer:".to_owned(),
                trained_here: true,
                max_text_tokens: MAX_TEXT_TOKENS,
                reads: Reads::Nothing,
                image_token: None,
                captions: caption_settings(),
                answers: answer_settings(),
            },
        })
    }

    /// The same with what stage 1 trained, which matches, embeds and captions by itself, and with the `tokenizer` that it reads by.
    ///
    /// # Errors
    /// [`Blip2Error::Model`] where it reads features of another width, or fewer ids than the tokenizer has.
    pub fn with_representation(
        mut self,
        model: RepresentationModel,
        tokenizer: BertTokenizer,
    ) -> Result<Self, Blip2Error> {
        let sizes = model.qformer.config();
        fits(
            "image features",
            self.encoder.encoder.width(),
            sizes.encoder_hidden_size,
        )?;
        if tokenizer.text_vocabulary() > sizes.vocab_size {
            return Err(ModelError::Invalid(format!(
                "the tokenizer has {} ids of text, but the Q-Former only {} word embeddings",
                tokenizer.text_vocabulary(),
                sizes.vocab_size
            ))
            .into());
        }
        self.representation = Some(Representation {
            model: model.valid(),
            tokenizer,
            writes: true,
        });
        Ok(self)
    }

    /// The same with what stands in front of a caption, and of an answer, there with `{}` for the question.
    pub fn with_prompts(mut self, caption: impl Into<String>, question: impl Into<String>) -> Self {
        self.usage.caption_prompt = caption.into();
        self.usage.question_prompt = question.into();
        self
    }
}

/// # Errors
/// [`ModelError::Invalid`] where what is `made` is not what is `read`.
fn fits(what: &str, made: usize, read: usize) -> Result<(), ModelError> {
    if made == read {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "the {what} are {made} wide, but the part behind them reads a width of {read}"
    )))
}
