//! The model as a whole: pictures and text in, text and vectors out.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use blip2_data::pixels::RgbImage;
use blip2_data::text::{self, BertTokenizer};
use blip2_generation::GenerationConfig;
use blip2_llm_adapters::LoadedLanguageModel;
use blip2_objectives::Bridge;
use blip2_qformer::{RepresentationModel, TextBatch};
use burn::tensor::{Device, Tensor};

use crate::folder::{load_bridge, load_representation, model_folder};
use crate::frozen::load_vocabulary;
use crate::{
    BRIDGE, Blip2Error, CONFIG, LoadedEncoder, ModelConfig, REPRESENTATION, Written, load_encoder,
    load_language_model, read_config, text_batch, write_captions, write_captions_by_qformer,
};

/// A trained BLIP-2 with its frozen models. The language model is loaded when it is first asked.
pub struct Blip2 {
    folder: PathBuf,
    home: PathBuf,
    config: ModelConfig,
    device: Device,
    encoder: LoadedEncoder,
    representation: Option<Representation>,
    bridge: Option<Bridge>,
    language_model: OnceCell<LoadedLanguageModel>,
}

/// What stage 1 trained, with its vocabulary.
pub(crate) struct Representation {
    pub(crate) model: RepresentationModel,
    pub(crate) tokenizer: BertTokenizer,
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

impl Blip2 {
    /// Loads the model in `folder`, a model folder or a run folder, with the frozen models that it names under `home`.
    ///
    /// # Errors
    /// [`Blip2Error`] names the file at fault: the folder is no model, a frozen model is absent or damaged, or weights do
    /// not fit.
    pub fn from_pretrained(folder: &Path, home: &Path, device: &Device) -> Result<Self, Blip2Error> {
        let folder = model_folder(folder)?;
        let config = read_config(&folder)?;
        let device = device.clone().inner();
        let bridge = load_bridge(&folder, &config, &device)?;
        let representation = match load_representation(&folder, &config, &device)? {
            Some(model) => Some(Representation {
                model,
                tokenizer: load_vocabulary(&config, home)?,
            }),
            None => None,
        };
        if bridge.is_none() && representation.is_none() {
            let reason =
                format!("beside it stands neither {REPRESENTATION} nor {BRIDGE}: the folder is incomplete");
            return Err(Blip2Error::Config {
                path: folder.join(CONFIG),
                reason,
            });
        }
        let encoder = load_encoder(&config.encoder, home, &device)?;
        let (width, expected) = (
            encoder.encoder.width(),
            config.representation.qformer.encoder_hidden_size,
        );
        if width != expected {
            let reason = format!(
                "the Q-Former reads features of width {expected}, but the encoder's are {width} wide"
            );
            return Err(Blip2Error::Config {
                path: folder.join(CONFIG),
                reason,
            });
        }
        Ok(Self {
            folder,
            home: home.to_owned(),
            config,
            device,
            encoder,
            representation,
            bridge,
            language_model: OnceCell::new(),
        })
    }

    /// What the model is made of.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Whether stage 2 was trained, so that the language model can be asked.
    pub fn has_bridge(&self) -> bool {
        self.bridge.is_some()
    }

    /// Whether stage 1's model is there, so that pictures and texts can be matched.
    pub fn has_representation(&self) -> bool {
        self.representation.is_some()
    }

    /// Lets the language model continue one prompt a picture; an empty prompt asks for a plain caption.
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
        let bridge = self.bridge()?;
        let language_model = self.language_model()?;
        let prompts = prompts
            .iter()
            .map(|prompt| language_model.tokenizer.encode_prompt(prompt));
        let prompts = prompts.collect::<Result<Vec<_>, _>>()?;
        write_captions(
            bridge,
            language_model,
            self.features(pictures)?,
            &prompts,
            settings,
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
        let Representation { model, tokenizer } = self.representation()?;
        write_captions_by_qformer(model, tokenizer, self.features(pictures)?, settings)
    }

    /// Answers one question a picture. Questions are cleaned as in training ([`text::question`]) and put into the model's
    /// question prompt.
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn ask(
        &self,
        pictures: &[RgbImage],
        questions: &[String],
        settings: &GenerationConfig,
    ) -> Result<Vec<Written>, Blip2Error> {
        let template = &self.config.language_model.question_prompt;
        let prompts: Vec<String> = questions
            .iter()
            .map(|question| template.replace("{}", &text::question(question)))
            .collect();
        self.caption(pictures, &prompts, settings)
    }

    /// What the Q-Former makes of `pictures`.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`].
    pub fn embed_images(&self, pictures: &[RgbImage]) -> Result<ImageEmbeddings, Blip2Error> {
        let model = &self.representation()?.model;
        let context = model.image_context(self.features(pictures)?)?;
        let states = model.qformer.query_pass(&context, pictures.len()).hidden;
        Ok(ImageEmbeddings {
            embeddings: model.image_embeddings(states.clone()),
            states,
        })
    }

    /// What the Q-Former makes of `texts`, cleaned as captions are.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`].
    pub fn embed_texts(&self, texts: &[String]) -> Result<TextEmbeddings, Blip2Error> {
        let model = &self.representation()?.model;
        let batch = self.read(texts)?;
        Ok(TextEmbeddings {
            states: model.qformer.text_pass(&batch, None)?,
            embeddings: model.text_embeddings(&batch)?,
            mask: batch.mask,
        })
    }

    /// Query states `[batch, queries, width]` that have seen both the picture and its text, one text a picture.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`]; [`Blip2Error::Model`] where the numbers differ.
    pub fn embed_multimodal(&self, pictures: &[RgbImage], texts: &[String]) -> Result<Tensor<3>, Blip2Error> {
        let model = &self.representation()?.model;
        if pictures.len() != texts.len() {
            let problem = format!(
                "{} pictures and {} texts are not pairs",
                pictures.len(),
                texts.len()
            );
            return Err(blip2_core::ModelError::Invalid(problem).into());
        }
        let context = model.image_context(self.features(pictures)?)?;
        Ok(model.qformer.multimodal_pass(&context, &self.read(texts)?)?)
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

    /// `texts` cleaned and tokenised for the Q-Former.
    pub(crate) fn read(&self, texts: &[String]) -> Result<TextBatch, Blip2Error> {
        let texts: Vec<String> = texts.iter().map(|text| text::caption(text, "")).collect();
        text_batch(
            &self.representation()?.tokenizer,
            &texts,
            self.config.max_text_tokens,
            &self.device,
        )
    }

    pub(crate) fn representation(&self) -> Result<&Representation, Blip2Error> {
        self.representation.as_ref().ok_or_else(|| Blip2Error::Untrained {
            path: self.folder.join(REPRESENTATION),
            need: "only what stage 1 trained can match, embed, or caption without the language model",
        })
    }

    pub(crate) fn bridge(&self) -> Result<&Bridge, Blip2Error> {
        self.bridge.as_ref().ok_or_else(|| Blip2Error::Untrained {
            path: self.folder.join(BRIDGE),
            need: "the language model understands pictures only after stage 2; \
                   the Q-Former can caption without it (`blip2 caption --by qformer`)",
        })
    }

    pub(crate) fn language_model(&self) -> Result<&LoadedLanguageModel, Blip2Error> {
        if let Some(loaded) = self.language_model.get() {
            return Ok(loaded);
        }
        let loaded = load_language_model(&self.config.language_model, &self.home, &self.device)?;
        Ok(self.language_model.get_or_init(|| loaded))
    }
}
