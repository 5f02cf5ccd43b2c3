//! CLIP as a whole (Radford et al., 2021): an image tower and a text tower whose ends are compared. CapFilt ranks captions
//! with it (BLIP-2, section 3.4).

mod config;
mod text;

use std::path::Path;

use blip2_core::layers::{Linear, unit_length};
use blip2_core::weights::{LoadOptions, NameMap, TensorStore, Views, check, load, open_weights};
use blip2_core::{Initializer, LoadPlan, ModelError, VisionEncoder};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

pub use config::{ClipConfig, ClipTextConfig};

use super::hugging_face;
use super::{VisionTransformer, VisionTransformerConfig};
use crate::EncoderError;
use text::TextTower;

/// Logarithm of the initial scale of the logits: 1 / 0.07.
const INITIAL_SCALE: f32 = 2.6592;

/// Both towers of CLIP.
#[derive(Module, Debug)]
pub struct Clip {
    vision: VisionTransformer,
    text: TextTower,
    visual_projection: Linear,
    text_projection: Linear,
    /// `[1]`, the logarithm of what cosines are multiplied by.
    logit_scale: Param<Tensor<1>>,
}

impl Clip {
    /// Random weights everywhere.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the configuration contradicts itself.
    pub fn new(config: &ClipConfig, initializer: &mut Initializer) -> Result<Self, ModelError> {
        let VisionTransformerConfig {
            hidden_size,
            initializer_range,
            ..
        } = config.vision;
        Ok(Self {
            vision: VisionTransformer::new(&config.vision, initializer)?,
            text: TextTower::new(&config.text, initializer)?,
            visual_projection: Linear::unbiased(
                initializer,
                hidden_size,
                config.projection_dim,
                initializer_range,
            ),
            text_projection: Linear::unbiased(
                initializer,
                config.text.hidden_size,
                config.projection_dim,
                initializer_range,
            ),
            logit_scale: initializer.constant([1], INITIAL_SCALE),
        })
    }

    /// Loads a Hugging Face folder of `CLIPModel`: `config.json` and weights ([`open_weights`]).
    ///
    /// # Errors
    /// [`EncoderError`], with the file at fault.
    pub fn from_hugging_face(folder: &Path, plan: impl Into<LoadPlan>) -> Result<Self, EncoderError> {
        let config = ClipConfig::read(&folder.join("config.json"))?;
        let store = open_weights(folder)?;
        let views = views(store.as_ref());
        let plan = plan.into().resolve(&views);
        let random = Self::new(&config, &mut Initializer::new(0, &plan))?;
        Ok(load(random, &views, &HUGGING_FACE, plan.options())?)
    }

    /// Whether the tensors of `store` are those of the model in the `config.json` at `config`, by names and shapes alone:
    /// nothing is read.
    ///
    /// # Errors
    /// [`EncoderError`] as from [`Clip::from_hugging_face`].
    pub fn check_hugging_face(config: &Path, store: &dyn TensorStore) -> Result<(), EncoderError> {
        let config = ClipConfig::read(config)?;
        let random = Self::new(&config, &mut Initializer::new(0, &Device::flex()))?;
        Ok(check(
            &random,
            &views(store),
            &HUGGING_FACE,
            LoadOptions::default(),
        )?)
    }

    /// Unit-length embeddings `[batch, embedding]` of `pixels` `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the pixels do not fit the patch grid.
    pub fn image_embeddings(&self, pixels: Tensor<4>) -> Result<Tensor<2>, ModelError> {
        let features = self.vision.encode(pixels)?;
        let class = features.narrow(1, 0, 1).squeeze_dim(1);
        let class = class.cast(self.visual_projection.weight.dtype());
        Ok(unit_length(self.visual_projection.forward(class)))
    }

    /// Unit-length embeddings `[batch, embedding]` of `texts`, ids from the start token to the end token.
    ///
    /// # Errors
    /// [`ModelError`] where a text has no end token, is too long, or holds an id outside of the vocabulary.
    pub fn text_embeddings(&self, texts: &[Vec<u32>]) -> Result<Tensor<2>, ModelError> {
        Ok(unit_length(
            self.text_projection.forward(self.text.forward(texts)?),
        ))
    }

    /// How well images and texts belong together, `[images, texts]`: the scaled cosines of their embeddings
    /// `[images, embedding]` and `[texts, embedding]`.
    pub fn logits(&self, images: Tensor<2>, texts: Tensor<2>) -> Tensor<2> {
        images.matmul(texts.transpose()) * self.logit_scale.val().exp().unsqueeze()
    }
}

fn views(store: &dyn TensorStore) -> Views<'_> {
    Views::below(store, "")
        .deepen("vision_model.embeddings.class_embedding")
        .deepen("vision_model.embeddings.position_embedding.weight")
}

/// Names of `transformers`' `CLIPModel`; older files keep the numbers of the positions.
const HUGGING_FACE: NameMap = NameMap {
    rename: |path| {
        Some(match path.split_once('.') {
            Some(("vision", rest)) => format!("vision_model.{}", hugging_face::CLIP.of(rest)),
            Some(("text", rest)) => format!("text_model.{}", text::NAMES.of(rest)),
            _ => path.to_owned(),
        })
    },
    ignored: |_| false,
};
