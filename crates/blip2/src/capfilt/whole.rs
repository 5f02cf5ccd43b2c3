//! A BLIP-2 as captioner, or its stage 1 as ranker.

use blip2_data::pixels::RgbImage;
use blip2_generation::GenerationConfig;

use super::{Captioner, Ranker};
use crate::model::finite;
use crate::{Blip2, Blip2Error};

/// A model that is known to do what it is asked for.
pub(super) struct ByBlip2(Blip2);

impl ByBlip2 {
    /// # Errors
    /// [`Blip2Error::Untrained`] where nothing in it can write.
    pub(super) fn captioner(model: Blip2) -> Result<Self, Blip2Error> {
        match model.has_bridge() {
            true => model.language_model().map(|_| ())?,
            false => model.writing_representation().map(|_| ())?,
        }
        Ok(Self(model))
    }

    /// # Errors
    /// [`Blip2Error::Untrained`] where it has no contrastive embeddings.
    pub(super) fn ranker(model: Blip2) -> Result<Self, Blip2Error> {
        model.representation()?;
        Ok(Self(model))
    }
}

impl Captioner for ByBlip2 {
    fn write(&self, picture: &RgbImage, settings: &GenerationConfig) -> Result<Vec<String>, Blip2Error> {
        let Self(model) = self;
        let pictures = std::slice::from_ref(picture);
        let written = match model.has_bridge() {
            true => {
                let settings = GenerationConfig {
                    end_tokens: model.caption_settings().end_tokens.clone(),
                    ..settings.clone()
                };
                model.caption(pictures, &[model.caption_prompt().to_owned()], &settings)?
            }
            false => model.caption_by_qformer(pictures, settings)?,
        };
        Ok(written.into_iter().map(|written| written.text).collect())
    }
}

impl Ranker for ByBlip2 {
    /// By the query that fits best, as in stage 1.
    fn scores(&self, picture: &RgbImage, texts: &[String]) -> Result<Vec<f64>, Blip2Error> {
        let Self(model) = self;
        let image = model.embed_images(std::slice::from_ref(picture))?.embeddings;
        let [_, queries, width] = image.dims();
        let texts = model
            .representation()?
            .model
            .text_embeddings(&model.read(texts)?)?;
        let texts = finite("text embeddings", texts)?;
        let cosines = image.reshape([queries, width]).matmul(texts.transpose());
        Ok(cosines.max_dim(0).into_data().iter::<f64>().collect())
    }
}
