//! Text that is written behind an encoded prompt.

use blip2_core::{ModelError, NextTokenModel};
use burn::tensor::Tensor;

use super::T5;
use super::decoder::DecoderCache;
use crate::batch::{check_continuation, embed};
use crate::cache::Beginnings;

/// A batch of texts in the middle of being written. Rows begin together with the start token, so that the decoder has no
/// padding; the encoder's stays hidden.
pub(super) struct T5Text<'a> {
    pub(super) model: &'a T5,
    pub(super) layers: Vec<DecoderCache>,
    /// `[rows, 1, 1, places]`, where the encoder's input has padding.
    pub(super) padding: Option<Tensor<4>>,
    pub(super) beginnings: Beginnings,
    /// Tokens read by the decoder, the start token included.
    pub(super) tokens: usize,
    pub(super) logits: Tensor<2>,
}

impl NextTokenModel for T5Text<'_> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let model = self.model;
        check_continuation(self.beginnings.rows(), parents, tokens, &model.shared)?;
        let device = model.shared.weight.lazy_device();
        if let Some(rows) = self.beginnings.follow(parents, &device) {
            let layers = self.layers.iter_mut();
            layers.for_each(|layer| layer.select(&rows, self.tokens));
            if !rows.same_beginnings {
                self.padding = self.padding.take().map(|padding| padding.select(0, rows.parents));
            }
        }
        let embeddings = embed(&model.shared, tokens, tokens.len());
        let hidden = model
            .decoder
            .step(embeddings, &mut self.layers, self.tokens, self.padding.as_ref());
        self.logits = model.head(hidden.squeeze_dim(1));
        self.tokens += 1;
        Ok(())
    }
}
