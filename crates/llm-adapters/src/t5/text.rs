//! Decoding with a KV cache: text that is written behind an encoded prompt.

use blip2_core::{ModelError, NextTokenModel};
use burn::tensor::Tensor;

use super::T5;
use super::decoder::DecoderCache;
use crate::batch::{check_continuation, embed, list};
use crate::cache::Origins;

/// A batch of texts in the middle of being written. Rows begin together with the start token, so that the decoder has no
/// padding; the encoder's stays hidden.
pub(super) struct T5Text<'a> {
    pub(super) model: &'a T5,
    pub(super) layers: Vec<DecoderCache>,
    /// `[beginnings, 1, 1, places]`, where the encoder's input has padding.
    pub(super) padding: Option<Tensor<4>>,
    pub(super) origins: Origins,
    pub(super) logits: Tensor<2>,
}

impl NextTokenModel for T5Text<'_> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let model = self.model;
        check_continuation(self.origins.rows(), parents, tokens, &model.shared)?;
        self.origins.follow(parents);
        let padding = self.padding.as_ref().map(|padding| {
            let rows = self.origins.beginnings().iter().map(|row| *row as i64);
            padding.clone().select(0, list(rows.collect(), &padding.device()))
        });
        let embeddings = embed((&model.shared).into(), tokens, tokens.len());
        let hidden = model
            .decoder
            .step(embeddings, &mut self.layers, &self.origins, padding.as_ref());
        self.logits = model.head(hidden.squeeze_dim(1));
        Ok(())
    }
}
