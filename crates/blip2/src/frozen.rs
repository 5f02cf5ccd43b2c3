//! Loading the frozen models that a configuration names.

use std::path::{Path, PathBuf};

use blip2_core::VisionEncoder;
use blip2_data::pixels::ImageProcessor;
use blip2_data::text::BertTokenizer;
use blip2_llm_adapters::LoadedLanguageModel;
use blip2_vision_encoder::{EncoderError, IMAGENET_DEVIATION, IMAGENET_MEAN, VisionTransformer};
use burn::tensor::Device;

use crate::{Blip2Error, EncoderConfig, EncoderKind, LanguageModelConfig, ModelConfig};

/// A frozen image encoder with the pixels that belong to it.
pub struct LoadedEncoder {
    /// The encoder.
    pub encoder: Box<dyn VisionEncoder>,
    /// Brings pictures to the encoder's size and normalisation.
    pub processor: ImageProcessor,
}

/// Loads the image encoder of `config` to `device`, without autodiff.
///
/// # Errors
/// [`Blip2Error::Absent`] or [`Blip2Error::Encoder`] with the file at fault; the latter also where the encoder does not have
/// the block, or does not take the image size, that is asked for.
pub fn load_encoder(
    config: &EncoderConfig,
    home: &Path,
    device: &Device,
) -> Result<LoadedEncoder, Blip2Error> {
    let path = present(home.join(&config.path), "image encoder")?;
    let encoder =
        open_encoder(config, &path, &device.clone().inner()).map_err(|source| Blip2Error::Encoder {
            path,
            source: Box::new(source),
        })?;
    Ok(LoadedEncoder {
        encoder: Box::new(encoder),
        processor: ImageProcessor {
            width: config.image_size,
            height: config.image_size,
            mean: IMAGENET_MEAN,
            std: IMAGENET_DEVIATION,
        },
    })
}

fn open_encoder(
    config: &EncoderConfig,
    path: &Path,
    device: &Device,
) -> Result<VisionTransformer, EncoderError> {
    let encoder = match config.kind {
        EncoderKind::SaliencyVitS => VisionTransformer::from_saliency_onnx(path, device)?,
        EncoderKind::Dinov2 => VisionTransformer::from_hugging_face(path, device)?,
    };
    let encoder = encoder.with_features(config.features_after, config.final_norm)?;
    let side = config.image_size as usize;
    encoder.tokens(side, side)?;
    Ok(encoder)
}

/// Loads the language model of `config`, with its tokenizer, to `device`, without autodiff.
///
/// # Errors
/// [`Blip2Error::Absent`] or [`Blip2Error::LanguageModel`] with the file at fault.
pub fn load_language_model(
    config: &LanguageModelConfig,
    home: &Path,
    device: &Device,
) -> Result<LoadedLanguageModel, Blip2Error> {
    open_language_model(&home.join(&config.path), device)
}

/// Loads the language model in the file or folder `path`.
pub(crate) fn open_language_model(path: &Path, device: &Device) -> Result<LoadedLanguageModel, Blip2Error> {
    let path = present(path.to_owned(), "language model")?;
    blip2_llm_adapters::load_language_model(&path, &device.clone().inner()).map_err(|source| {
        Blip2Error::LanguageModel {
            path,
            source: Box::new(source),
        }
    })
}

/// The Q-Former's tokenizer.
pub(crate) fn load_vocabulary(config: &ModelConfig, home: &Path) -> Result<BertTokenizer, Blip2Error> {
    let path = present(home.join(&config.vocabulary), "vocabulary")?;
    let tokenizer = BertTokenizer::from_file(&path)?;
    check_vocabulary(&path, &tokenizer, config.representation.qformer.vocab_size)?;
    Ok(tokenizer)
}

/// A tokenizer must not know more ids of text than there are `rows` of word embeddings. Special tokens may stand outside: `[DEC]`,
/// where it is an addition of ours to a model that does not write with the Q-Former, and the `<image>` of `transformers`.
pub(crate) fn check_vocabulary(
    path: &Path,
    tokenizer: &BertTokenizer,
    rows: usize,
) -> Result<(), Blip2Error> {
    let ids = tokenizer.text_vocabulary();
    if ids <= rows {
        return Ok(());
    }
    let reason = format!(
        "it has {ids} ids of text, but the Q-Former only {rows} word embeddings: it belongs to another model"
    );
    Err(Blip2Error::Config {
        path: path.to_owned(),
        reason,
    })
}

fn present(path: PathBuf, what: &'static str) -> Result<PathBuf, Blip2Error> {
    if path.exists() {
        Ok(path)
    } else {
        Err(Blip2Error::Absent { what, path })
    }
}
