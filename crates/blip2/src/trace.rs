//! What flows through the model, stage by stage: the means to compare it with another implementation.

use blip2_core::TextExample;
use blip2_data::pixels::RgbImage;
use burn::tensor::{Tensor, TensorData};

use crate::{Blip2, Blip2Error, ImagePrompts};

impl Blip2 {
    /// The tensors that `picture` and `prompt` give rise to, by name:
    ///
    /// - `pixel_values` `[1, 3, height, width]`
    /// - `vision` `[1, patches, encoder width]`, the encoder's features as the Q-Former reads them: normalised
    /// - `qformer` `[1, queries, width]`, the query states: of stage 2 where it was trained, else of stage 1
    ///
    /// and, where stage 2 was trained,
    ///
    /// - `projected` `[1, queries, hidden]`, the soft prompt
    /// - `logits` `[1, places, vocabulary]`, of what may follow: each query and each token of the prompt with a decoder-only
    ///   language model, the start token with an encoder-decoder model
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn trace(&self, picture: &RgbImage, prompt: &str) -> Result<Vec<(String, TensorData)>, Blip2Error> {
        let pixels = self.pixels(std::slice::from_ref(picture))?;
        let features = self.encode(pixels.clone())?;
        let mut trace = vec![entry("pixel_values", pixels)];
        if !self.has_bridge() {
            let model = &self.representation()?.model;
            let vision = model.normalise(features)?;
            let context = model.qformer.image_context(vision.clone())?;
            let states = model.qformer.query_pass(&context, 1).hidden;
            trace.extend([entry("vision", vision), entry("qformer", states)]);
            return Ok(trace);
        }
        let ImagePrompts {
            vision,
            qformer,
            projected,
        } = self.bridged(features, &[prompt])?;
        let language_model = self.language_model()?;
        let example = TextExample {
            prompt: self.encode_written(language_model, prompt)?,
            target: Vec::new(),
        };
        let logits = language_model.model.logits(projected.clone(), &[example])?;
        trace.extend([
            entry("vision", vision),
            entry("qformer", qformer),
            entry("projected", projected),
            entry("logits", logits),
        ]);
        Ok(trace)
    }
}

fn entry<const D: usize>(name: &str, tensor: Tensor<D>) -> (String, TensorData) {
    (name.to_owned(), tensor.into_data())
}
