//! How well texts belong to a picture (LAVIS `blip2_image_text_matching.py`).

use blip2_data::pixels::RgbImage;
use blip2_generation::GenerationError;
use burn::tensor::activation::softmax;
use serde::Serialize;

use crate::model::finite;
use crate::{Blip2, Blip2Error};

/// Texts that are matched in one pass; each needs its own copy of the picture's keys and values.
const TEXTS_AT_ONCE: usize = 32;

/// How well a text belongs to a picture, by both heads of stage 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Match {
    /// Probability of the matching head, 0 to 1: picture and text were read together.
    pub itm_probability: f64,
    /// Cosine of the contrastive embeddings by the best query, -1 to 1, without temperature.
    pub itc: f64,
}

impl Blip2 {
    /// Matches `picture` with each of `texts`, cleaned as captions are.
    ///
    /// # Errors
    /// As for [`Blip2::caption_by_qformer`].
    pub fn match_texts(&self, picture: &RgbImage, texts: &[String]) -> Result<Vec<Match>, Blip2Error> {
        self.match_texts_while(picture, texts, &|| true)
    }

    /// The same as long as `goes_on` says so, which is asked before the picture and before each batch of texts.
    ///
    /// # Errors
    /// As for [`Blip2::match_texts`]; [`GenerationError::Stopped`] where it is to end before all is matched.
    pub fn match_texts_while(
        &self,
        picture: &RgbImage,
        texts: &[String],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Match>, Blip2Error> {
        let check = || match goes_on() {
            true => Ok(()),
            false => Err(GenerationError::Stopped),
        };
        check()?;
        let model = &self.representation()?.model;
        let context = model.image_context(self.features(std::slice::from_ref(picture))?)?;
        let image = model.image_embeddings(model.qformer.query_pass(&context, 1).hidden);
        // A maximum may pass over what is no number, so that each side is looked at.
        let image = finite("image embeddings", image)?;
        let [_, queries, width] = image.dims();
        let image = image.reshape([queries, width]);
        let mut matches = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            check()?;
            let batch = self.read(texts)?;
            let same = vec![0; texts.len()];
            let logits = model.matching_logits(&context.select(&same), &batch)?;
            let logits = finite("matching logits", logits)?;
            let matching = softmax(logits, 1).narrow(1, 1, 1);
            let text = finite("text embeddings", model.text_embeddings(&batch)?)?;
            let cosine = image.clone().matmul(text.transpose()).max_dim(0);
            let pairs = matching
                .into_data()
                .iter::<f64>()
                .zip(cosine.into_data().iter::<f64>())
                .collect::<Vec<_>>();
            matches.extend(
                pairs
                    .into_iter()
                    .map(|(itm_probability, itc)| Match { itm_probability, itc }),
            );
        }
        Ok(matches)
    }
}
