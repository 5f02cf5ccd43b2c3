//! The model as a whole: pictures and text in, text and vectors out.

use std::path::PathBuf;

use blip2_core::ModelError;
use blip2_data::pixels::RgbImage;
use blip2_data::text::{self, BertTokenizer};
use blip2_generation::{GenerationConfig, TokenCallback};
use blip2_llm_adapters::{LoadedLanguageModel, PLACEHOLDER, TokenizerError};
use blip2_qformer::{Bridge, RepresentationModel, TextBatch};
use burn::tensor::{Device, Tensor};

use crate::captions::{Beginnings, ended_by, write_behind, write_by_qformer};
use crate::lazy::LazyLanguageModel;
use crate::streams::streams;
use crate::usage::Usage;
use crate::{Blip2Error, LoadedEncoder, Reads, Written, text_batch};

/// One model serves many threads.
const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Blip2>();
};

/// A trained BLIP-2 with its frozen models. The language model is loaded when it is first asked.
pub struct Blip2 {
    pub(crate) folder: PathBuf,
    pub(crate) device: Device,
    pub(crate) encoder: LoadedEncoder,
    pub(crate) representation: Option<Representation>,
    pub(crate) bridge: Option<LanguageBridge>,
    pub(crate) usage: Usage,
}

/// What stage 1 trained, with its vocabulary.
pub(crate) struct Representation {
    pub(crate) model: RepresentationModel,
    pub(crate) tokenizer: BertTokenizer,
    /// Whether the language head was trained, too: Hugging Face folders do not hold it.
    pub(crate) writes: bool,
}

/// What stage 2 trained, and the language model behind it.
pub(crate) struct LanguageBridge {
    pub(crate) bridge: Bridge,
    /// The vocabulary of the instructions that its Q-Former reads (InstructBLIP).
    pub(crate) instructions: Option<BertTokenizer>,
    pub(crate) language_model: LazyLanguageModel,
}

/// What the Q-Former makes of pictures.
pub struct ImageEmbeddings {
    /// Query states `[batch, queries, width]`.
    pub states: Tensor<3>,
    /// Unit-length contrastive embeddings `[batch, queries, embedding]`.
    pub embeddings: Tensor<3>,
}

/// What the Q-Former makes of texts.
pub struct TextEmbeddings {
    /// Token states `[batch, tokens, width]`, `[CLS]` first; those of padding mean nothing.
    pub states: Tensor<3>,
    /// `[batch, tokens]`: 1 on text, 0 on padding.
    pub mask: Tensor<2>,
    /// Unit-length contrastive embeddings `[batch, embedding]` of the `[CLS]` states.
    pub embeddings: Tensor<2>,
}

/// What stage 2 makes of pictures: what the language model sees of them, and how it came about.
pub struct ImagePrompts {
    /// Image features `[batch, patches, encoder width]`, normalised for the Q-Former.
    pub vision: Tensor<3>,
    /// Query states `[batch, queries, width]`.
    pub qformer: Tensor<3>,
    /// The soft prompt `[batch, queries, hidden]`.
    pub projected: Tensor<3>,
}

impl Blip2 {
    /// What stands in front of a caption where nothing else is asked for; often nothing.
    pub fn caption_prompt(&self) -> &str {
        &self.usage.caption_prompt
    }

    /// How the model writes captions where nothing else is asked for: as its folder says, else [`crate::caption_settings`].
    pub fn caption_settings(&self) -> &GenerationConfig {
        &self.usage.captions
    }

    /// The same for answers.
    pub fn answer_settings(&self) -> &GenerationConfig {
        &self.usage.answers
    }

    /// Whether stage 2 was trained, so that the language model can be asked.
    pub fn has_bridge(&self) -> bool {
        self.bridge.is_some()
    }

    /// Whether stage 1's model is there, so that pictures and texts can be matched.
    pub fn has_representation(&self) -> bool {
        self.representation.is_some()
    }

    /// Whether the Q-Former can caption by itself: its language head was trained, too.
    pub fn writes_by_qformer(&self) -> bool {
        self.representation
            .as_ref()
            .is_some_and(|representation| representation.writes)
    }

    /// Lets the language model continue one prompt a picture, `num_return_sequences` times; an empty prompt asks for a plain
    /// caption. The texts come picture by picture. What is drawn for one depends on the seed, the picture and its prompt alone.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] without stage 2; [`Blip2Error`] where the language model cannot be loaded, or prompts and
    /// settings do not fit.
    pub fn caption(
        &self,
        pictures: &[RgbImage],
        prompts: &[String],
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        self.write(pictures, prompts, prompts, settings)
    }

    /// Writes behind `prompts`, while the Q-Former reads `read` beside the pictures, where it reads a text.
    pub(crate) fn write(
        &self,
        pictures: &[RgbImage],
        prompts: &[String],
        read: &[String],
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        check_pairs(pictures, prompts)?;
        self.language_model()?;
        let pixels = self.pixels(pictures)?;
        let streams = streams(&pixels, prompts, settings);
        self.write_about((self.encode(pixels)?, &streams), prompts, read, settings, None)
    }

    /// The same about image features `[batch, patches, encoder width]`, with the streams of what is drawn.
    pub(crate) fn write_about(
        &self,
        (features, streams): (Tensor<3>, &[u64]),
        prompts: &[String],
        read: &[String],
        settings: &GenerationConfig,
        callback: Option<TokenCallback>,
    ) -> Result<Vec<Written>, Blip2Error> {
        let language_model = self.language_model()?;
        let soft_prompt = self.bridged(features, read)?.projected;
        let prompts = prompts
            .iter()
            .map(|prompt| self.encode_written(language_model, prompt));
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        let [_, queries, _] = soft_prompt.dims();
        let queries = vec![self.usage.image_token; queries];
        let history: Vec<Vec<u32>> = prompts
            .iter()
            .map(|prompt| {
                let text: Vec<u32> = queries.iter().flatten().chain(prompt).copied().collect();
                language_model.model.history(&text)
            })
            .collect();
        let settings = ended_by(settings, self.ends(language_model));
        write_behind(
            language_model,
            soft_prompt,
            &prompts,
            Beginnings {
                history: &history,
                streams,
            },
            &settings,
            callback,
        )
    }

    /// Lets the Q-Former alone write about each picture, as stage 1 trained it.
    ///
    /// # Errors
    /// [`Blip2Error::Untrained`] where the folder has no stage-1 model.
    pub fn caption_by_qformer(
        &self,
        pictures: &[RgbImage],
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        let Representation { model, tokenizer, .. } = self.writing_representation()?;
        let pixels = self.pixels(pictures)?;
        let streams = streams(&pixels, &vec![""; pictures.len()], settings);
        write_by_qformer(model, tokenizer, self.encode(pixels)?, &streams, settings)
    }

    /// Answers one question a picture. Questions are cleaned as in training ([`text::question`]), taken as they are with a
    /// Hugging Face folder, and put into the model's question prompt.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn ask(
        &self,
        pictures: &[RgbImage],
        questions: &[String],
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        let asked = questions.iter().map(|question| self.asked(question));
        let (prompts, read): (Vec<_>, Vec<_>) = asked.unzip();
        self.write(pictures, &prompts, &read, settings)
    }

    /// The prompt of `question`, and what the Q-Former reads of it, where it reads a text.
    pub(crate) fn asked(&self, question: &str) -> (String, String) {
        let question = match self.usage.trained_here {
            true => text::question(question),
            false => question.to_owned(),
        };
        self.put(question, &self.usage.question_prompt)
    }

    /// `prompt` with `question` in the place of `{}`, and what the Q-Former reads of it, where it reads a text.
    pub(crate) fn put(&self, question: String, prompt: &str) -> (String, String) {
        let prompt = prompt.replace("{}", &question);
        let read = match self.usage.reads {
            Reads::Question => question,
            Reads::Prompt | Reads::Nothing => prompt.clone(),
        };
        (prompt, read)
    }

    /// What the Q-Former makes of `pictures`.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`].
    pub fn embed_images(&self, pictures: &[RgbImage]) -> Result<ImageEmbeddings, Blip2Error> {
        self.representation()?;
        self.embed_features(self.features(pictures)?)
    }

    /// What the Q-Former makes of image `features` `[batch, patches, encoder width]`.
    pub(crate) fn embed_features(&self, features: Tensor<3>) -> Result<ImageEmbeddings, Blip2Error> {
        let model = &self.representation()?.model;
        let [batch, _, _] = features.dims();
        let context = model.image_context(features)?;
        let states = model.qformer.query_pass(&context, batch).hidden;
        Ok(ImageEmbeddings {
            embeddings: finite("image embeddings", model.image_embeddings(states.clone()))?,
            states: finite("query states", states)?,
        })
    }

    /// What the Q-Former makes of `texts`, cleaned as captions are, taken as they are with a Hugging Face folder.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`].
    pub fn embed_texts(&self, texts: &[String]) -> Result<TextEmbeddings, Blip2Error> {
        let model = &self.representation()?.model;
        let batch = self.read(texts)?;
        Ok(TextEmbeddings {
            states: finite("text states", model.qformer.text_pass(&batch, None)?)?,
            embeddings: finite("text embeddings", model.text_embeddings(&batch)?)?,
            mask: batch.mask,
        })
    }

    /// Query states `[batch, queries, width]` that have seen both the picture and its text, one text a picture.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`]; [`Blip2Error::Model`] where the numbers differ.
    pub fn embed_multimodal(&self, pictures: &[RgbImage], texts: &[String]) -> Result<Tensor<3>, Blip2Error> {
        let model = &self.representation()?.model;
        check_pairs(pictures, texts)?;
        let context = model.image_context(self.features(pictures)?)?;
        let states = model.qformer.multimodal_pass(&context, &self.read(texts)?)?;
        Ok(finite("query states", states)?)
    }

    /// Whether the Q-Former of stage 2 reads a text beside each picture (InstructBLIP).
    pub fn reads_instructions(&self) -> bool {
        self.bridge
            .as_ref()
            .is_some_and(|bridge| bridge.instructions.is_some())
    }

    /// What the language model sees of `pictures`, where the prompt of each is that of `prompts`: they count only with a
    /// Q-Former that reads instructions. The language model itself is not loaded.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn image_prompts(
        &self,
        pictures: &[RgbImage],
        prompts: &[String],
    ) -> Result<ImagePrompts, Blip2Error> {
        check_pairs(pictures, prompts)?;
        let ImagePrompts {
            vision,
            qformer,
            projected,
        } = self.bridged(self.features(pictures)?, prompts)?;
        Ok(ImagePrompts {
            vision: finite("image features", vision)?,
            qformer: finite("query states", qformer)?,
            projected: finite("soft prompts", projected)?,
        })
    }

    /// What stage 2 makes of image `features` `[batch, patches, encoder width]`.
    pub(crate) fn bridged<T: AsRef<str>>(
        &self,
        features: Tensor<3>,
        prompts: &[T],
    ) -> Result<ImagePrompts, Blip2Error> {
        let LanguageBridge {
            bridge, instructions, ..
        } = self.language_bridge()?;
        let instructions = instructions
            .as_ref()
            .map(|tokenizer| self.instructions(bridge, tokenizer, prompts))
            .transpose()?;
        let vision = bridge.normalise(features)?;
        let qformer = bridge.query_states(vision.clone(), instructions.as_ref())?;
        Ok(ImagePrompts {
            projected: bridge.projection.forward(qformer.clone()),
            vision,
            qformer,
        })
    }

    /// `texts` as the Q-Former of `bridge` reads them beside the pictures, with the vocabulary of `tokenizer`.
    pub(crate) fn instructions<T: AsRef<str>>(
        &self,
        bridge: &Bridge,
        tokenizer: &BertTokenizer,
        texts: &[T],
    ) -> Result<TextBatch, Blip2Error> {
        self.written(tokenizer, texts, bridge.qformer.config().vocab_size)
    }

    /// Normalised pixels `[batch, 3, height, width]` of `pictures`.
    pub(crate) fn pixels(&self, pictures: &[RgbImage]) -> Result<Tensor<4>, Blip2Error> {
        Ok(self.encoder.processor.batch(pictures, &self.device)?)
    }

    /// Image features `[batch, patches, encoder width]` of normalised `pixels`.
    pub(crate) fn encode(&self, pixels: Tensor<4>) -> Result<Tensor<3>, Blip2Error> {
        Ok(self.encoder.encoder.encode(pixels)?)
    }

    pub(crate) fn features(&self, pictures: &[RgbImage]) -> Result<Tensor<3>, Blip2Error> {
        self.encode(self.pixels(pictures)?)
    }

    /// `texts` tokenised for the Q-Former of stage 1, cleaned where the model wants it.
    pub(crate) fn read(&self, texts: &[String]) -> Result<TextBatch, Blip2Error> {
        let Representation { model, tokenizer, .. } = self.representation()?;
        let rows = model.qformer.config().vocab_size;
        let texts: Vec<String> = texts.iter().map(|text| self.cleaned(text)).collect();
        self.written(tokenizer, &texts, rows)
    }

    /// `text` as stage 1 learned to read it.
    pub(crate) fn cleaned(&self, text: &str) -> String {
        match self.usage.trained_here {
            true => text::caption(text, ""),
            false => text.to_owned(),
        }
    }

    /// Ids of a prompt that a person wrote.
    pub(crate) fn encode_written(
        &self,
        language_model: &LoadedLanguageModel,
        prompt: &str,
    ) -> Result<Vec<u32>, Blip2Error> {
        self.refuse_placeholder(prompt)?;
        Ok(language_model.tokenizer.encode_written(prompt)?)
    }

    /// The processor of `transformers` takes it for the picture's place, whether the vocabulary has it or not.
    pub(crate) fn refuse_placeholder(&self, text: &str) -> Result<(), TokenizerError> {
        let token = PLACEHOLDER.to_owned();
        match !self.usage.trained_here && text.contains(PLACEHOLDER) {
            true => Err(TokenizerError::Reserved { token }),
            false => Ok(()),
        }
    }

    /// `texts` that a person wrote, as `tokenizer` cuts them for a Q-Former with `rows` word embeddings.
    fn written<T: AsRef<str>>(
        &self,
        tokenizer: &BertTokenizer,
        texts: &[T],
        rows: usize,
    ) -> Result<TextBatch, Blip2Error> {
        for text in texts {
            let text = text.as_ref();
            if let Some(token) = tokenizer.reserved(text, rows)? {
                return Err(TokenizerError::Reserved { token }.into());
            }
            self.refuse_placeholder(text)?;
        }
        text_batch(tokenizer, texts, self.usage.max_text_tokens, &self.device)
    }

    /// What ends a text where the settings do not say.
    pub(crate) fn ends(&self, language_model: &LoadedLanguageModel) -> Vec<u32> {
        match self.usage.trained_here {
            true => language_model.tokenizer.ends(),
            false => vec![language_model.tokenizer.end_of_text()],
        }
    }

    pub(crate) fn representation(&self) -> Result<&Representation, Blip2Error> {
        self.representation.as_ref().ok_or_else(|| Blip2Error::Untrained {
            folder: self.folder.clone(),
            need: "only what stage 1 trained can match, embed texts, or caption without the language model; it stands in \
                   `representation.safetensors`, or in a `Blip2ForImageTextRetrieval`",
        })
    }

    pub(crate) fn writing_representation(&self) -> Result<&Representation, Blip2Error> {
        let representation = self.representation()?;
        match representation.writes {
            true => Ok(representation),
            false => Err(Blip2Error::Untrained {
                folder: self.folder.clone(),
                need: "a Hugging Face folder holds no language head of the Q-Former; the checkpoint of LAVIS does",
            }),
        }
    }

    pub(crate) fn language_bridge(&self) -> Result<&LanguageBridge, Blip2Error> {
        self.bridge.as_ref().ok_or_else(|| Blip2Error::Untrained {
            folder: self.folder.clone(),
            need: "the language model understands pictures only after stage 2, which makes `bridge.safetensors` or a \
                   `Blip2ForConditionalGeneration`; a Q-Former of our own can caption without it (`--by qformer`)",
        })
    }

    pub(crate) fn language_model(&self) -> Result<&LoadedLanguageModel, Blip2Error> {
        self.language_bridge()?.language_model.get()
    }
}

/// # Errors
/// [`ModelError::NotFinite`] where one of `values` is none.
pub(crate) fn finite<const D: usize>(what: &'static str, values: Tensor<D>) -> Result<Tensor<D>, ModelError> {
    match values.clone().is_finite().all().into_scalar() {
        true => Ok(values),
        false => Err(ModelError::NotFinite { what }),
    }
}

fn check_pairs(pictures: &[RgbImage], texts: &[String]) -> Result<(), ModelError> {
    let (pictures, texts) = (pictures.len(), texts.len());
    if pictures == texts {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "{pictures} pictures and {texts} texts are not pairs"
    )))
}
