//! What flows through the model, stage by stage: the means to compare it with another implementation.

use blip2_data::pixels::RgbImage;
use burn::tensor::{Tensor, TensorData};

use crate::{Blip2, Blip2Error};

impl Blip2 {
    /// The tensors that `picture` and `prompt` give rise to, by name:
    ///
    /// - `pixel_values` `[1, 3, height, width]`
    /// - `vision` `[1, patches, encoder width]`, the encoder's features
    /// - `qformer` `[1, queries, width]`, the query states: of stage 2 where it was trained, else of stage 1
    ///
    /// and, where stage 2 was trained,
    ///
    /// - `projected` `[1, queries, hidden]`, the soft prompt
    /// - `logits` `[1, 1 + prompt tokens, vocabulary]`, of what may follow the last query and each token of the prompt
    ///
    /// # Errors
    /// As for [`Blip2::caption`].
    pub fn trace(&self, picture: &RgbImage, prompt: &str) -> Result<Vec<(String, TensorData)>, Blip2Error> {
        let pixels = self.pixels(std::slice::from_ref(picture))?;
        let features = self.encode(pixels.clone())?;
        let mut trace = vec![entry("pixel_values", pixels), entry("vision", features.clone())];
        if !self.has_bridge() {
            let model = &self.representation()?.model;
            let context = model.image_context(features)?;
            trace.push(entry("qformer", model.qformer.query_pass(&context, 1).hidden));
            return Ok(trace);
        }
        let bridge = self.bridge()?;
        let context = bridge
            .qformer
            .image_context(bridge.vision_norm.forward(features))?;
        let states = bridge.qformer.query_pass(&context, 1).hidden;
        let projected = bridge.projection.forward(states.clone());
        trace.extend([entry("qformer", states), entry("projected", projected.clone())]);
        trace.push(entry("logits", self.logits(projected, prompt)?));
        Ok(trace)
    }

    /// Every prefix of the prompt is a row of one batch, so that any language model gives the logits behind each.
    fn logits(&self, soft_prompt: Tensor<3>, prompt: &str) -> Result<Tensor<3>, Blip2Error> {
        let language_model = self.language_model()?;
        let ids = language_model.tokenizer.encode_prompt(prompt)?;
        let prefixes: Vec<Vec<u32>> = (0..=ids.len()).map(|length| ids[..length].to_vec()).collect();
        let soft_prompts = soft_prompt.repeat_dim(0, prefixes.len());
        let logits = language_model.model.start(soft_prompts, &prefixes)?.logits();
        Ok(logits.unsqueeze())
    }
}

fn entry<const D: usize>(name: &str, tensor: Tensor<D>) -> (String, TensorData) {
    (name.to_owned(), tensor.into_data())
}
