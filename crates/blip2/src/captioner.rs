//! BLIP's captioner (Li et al., 2022): with it, CapFilt writes the captions that it then chooses from (BLIP-2, section 3.4).

use std::path::Path;

use blip2_core::weights::{
    LoadOptions, TensorStore, Views, WeightError, check, is_buffer, load, open_weights,
};
use blip2_core::{Initializer, VisionEncoder};
use blip2_generation::{Generated, GenerationConfig, generate};
use blip2_qformer::{GroundedDecoder, QFormerConfig, TextBatch};
use blip2_vision_encoder::{EncoderError, VisionTransformer, VisionTransformerConfig};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Blip2Error;
use crate::hugging_face::CONFIG;
use crate::usage::read_json;

/// Where the tensors of the two parts stand in the file.
const ENCODER: &str = "vision_model.";
const DECODER: &str = "text_decoder.";

/// An image encoder and a text decoder that reads its features at every word.
pub struct Captioner {
    encoder: VisionTransformer,
    decoder: GroundedDecoder,
    start_token: u32,
    end_token: u32,
}

/// The sizes of the decoder are named as those of the Q-Former; these defaults are not.
#[derive(Deserialize)]
struct TextConfig {
    #[serde(default = "default_vocabulary")]
    vocab_size: usize,
    #[serde(default = "default_heads")]
    num_attention_heads: usize,
    hidden_act: Option<String>,
    #[serde(default = "default_start")]
    bos_token_id: u32,
    #[serde(default = "default_end")]
    sep_token_id: u32,
}

fn default_vocabulary() -> usize {
    30_524
}

fn default_heads() -> usize {
    8
}

fn default_start() -> u32 {
    30_522
}

fn default_end() -> u32 {
    102
}

impl Captioner {
    /// Loads a Hugging Face folder of `BlipForConditionalGeneration` to `device`: `config.json` and weights ([`open_weights`]).
    ///
    /// # Errors
    /// [`Blip2Error`], with the file at fault.
    pub fn from_hugging_face(folder: &Path, device: &Device) -> Result<Self, Blip2Error> {
        let encoder =
            VisionTransformer::from_hugging_face(folder, device).map_err(|source| Blip2Error::Encoder {
                path: folder.to_owned(),
                source: Box::new(source),
            })?;
        let store = open_weights(folder)?;
        let (decoder, text) = announced(&folder.join(CONFIG), encoder.width(), device)?;
        check_parts(store.as_ref())?;
        Ok(Self {
            decoder: load(
                decoder,
                &Views::below(store.as_ref(), DECODER),
                &GroundedDecoder::HUGGING_FACE,
                LoadOptions::default(),
            )?,
            encoder,
            start_token: text.bos_token_id,
            end_token: text.sep_token_id,
        })
    }

    /// Whether the tensors of `store` are those of the captioner in the `config.json` at `config`, by names and shapes alone:
    /// nothing is read.
    ///
    /// # Errors
    /// [`Blip2Error`], as from [`Captioner::from_hugging_face`].
    pub fn check_hugging_face(config: &Path, store: &dyn TensorStore) -> Result<(), Blip2Error> {
        let encoder_error = |source: EncoderError| Blip2Error::Encoder {
            path: config.to_owned(),
            source: Box::new(source),
        };
        let vision = VisionTransformerConfig::read(config).map_err(|error| encoder_error(error.into()))?;
        VisionTransformer::check_hugging_face(config, store).map_err(encoder_error)?;
        let (decoder, _) = announced(config, vision.hidden_size, &Device::flex())?;
        check_parts(store)?;
        Ok(check(
            &decoder,
            &Views::below(store, DECODER),
            &GroundedDecoder::HUGGING_FACE,
            LoadOptions::default(),
        )?)
    }

    /// The id that a prompt begins with, `[DEC]`.
    pub fn start_token(&self) -> u32 {
        self.start_token
    }

    /// Image features `[batch, patches, width]` of normalised `pixels` `[batch, 3, height, width]`.
    ///
    /// # Errors
    /// [`Blip2Error::Model`] where the pixels do not fit the patch grid.
    pub fn features(&self, pixels: Tensor<4>) -> Result<Tensor<3>, Blip2Error> {
        Ok(self.encoder.encode(pixels)?)
    }

    /// Logits `[batch, tokens, vocabulary]` behind each token of `texts`, one text for each image of `features`
    /// `[batch, patches, width]`. Those of padding mean nothing.
    ///
    /// # Errors
    /// [`Blip2Error::Model`] where features and texts do not fit each other or the model.
    pub fn logits(&self, features: Tensor<3>, texts: &[Vec<u32>]) -> Result<Tensor<3>, Blip2Error> {
        let [images, _, _] = features.dims();
        if images != texts.len() {
            let problem = format!("{images} images and {} texts are not pairs", texts.len());
            return Err(blip2_core::ModelError::Invalid(problem).into());
        }
        let texts = TextBatch::new(texts.to_vec(), &features.device())?;
        let context = self.decoder.image_context(features)?;
        Ok(self.decoder.logits(&context, &texts)?)
    }

    /// Writes about each image of `features` `[batch, patches, width]` behind `prompt`, ids that begin with
    /// [`Captioner::start_token`]. Where `settings` name no end tokens, `[SEP]` ends a text.
    ///
    /// # Errors
    /// [`Blip2Error::Model`] where features or prompt do not fit the model, [`Blip2Error::Generation`] for settings that
    /// contradict themselves.
    pub fn write(
        &self,
        features: Tensor<3>,
        prompt: &[u32],
        settings: &GenerationConfig,
    ) -> Result<Vec<Generated>, Blip2Error> {
        let [batch, _, _] = features.dims();
        let context = self.decoder.image_context(features)?;
        let mut text = self.decoder.start(&context, prompt, batch)?;
        let mut settings = settings.clone();
        if settings.end_tokens.is_empty() {
            settings.end_tokens = vec![self.end_token];
        }
        let history = vec![prompt.to_vec(); batch];
        Ok(generate(text.as_mut(), &history, &settings, None)?)
    }
}

/// The decoder in the `config.json` at `path` before it is loaded; it reads features of `width`.
fn announced(
    path: &Path,
    width: usize,
    device: &Device,
) -> Result<(GroundedDecoder, TextConfig), Blip2Error> {
    let wrong = |reason: String| Blip2Error::Config {
        path: path.to_owned(),
        reason,
    };
    let mut whole: Value = read_json(path)?;
    let text = whole.get_mut("text_config").map(Value::take);
    let text = text.filter(|text| !text.is_null());
    let text = text.unwrap_or_else(|| Value::Object(Map::new()));
    let sizes: Result<QFormerConfig, _> = serde_json::from_value(text.clone());
    let sizes = sizes.map_err(|error| wrong(error.to_string()))?;
    let text: Result<TextConfig, _> = serde_json::from_value(text);
    let text = text.map_err(|error| wrong(error.to_string()))?;
    if let Some(activation) = text.hidden_act.as_deref().filter(|name| *name != "gelu") {
        return Err(wrong(format!(
            "the decoder's activation is `{activation}`; only `gelu` is supported"
        )));
    }
    let config = QFormerConfig {
        vocab_size: text.vocab_size,
        num_attention_heads: text.num_attention_heads,
        // Whatever the file says, the features are the encoder's.
        encoder_hidden_size: width,
        ..sizes
    };
    let decoder = GroundedDecoder::new(&mut Initializer::new(0, device), &config)?;
    Ok((decoder, text))
}

/// # Errors
/// [`WeightError::Mismatch`] with the tensors of `store` that are neither the encoder's nor the decoder's.
fn check_parts(store: &dyn TensorStore) -> Result<(), WeightError> {
    let parts = [ENCODER, DECODER];
    let unexpected: Vec<String> = store
        .tensors()
        .keys()
        .filter(|name| !parts.iter().any(|part| name.starts_with(part)) && !is_buffer(name))
        .cloned()
        .collect();
    if unexpected.is_empty() {
        return Ok(());
    }
    Err(WeightError::Mismatch {
        file: store.label(),
        missing: Vec::new(),
        unexpected,
        misshapen: Vec::new(),
    })
}
