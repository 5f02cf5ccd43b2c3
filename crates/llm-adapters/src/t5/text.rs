//! Decoding with a KV cache: text that is written behind an encoded prompt.

use blip2_core::{ModelError, NextTokenModel, OpenTexts, Segment, with_recomputed};
use burn::tensor::Tensor;

use super::decoder::{DecoderBeginning, DecoderCache};
use super::{Encoded, NAME, POSITIONS, T5};
use crate::batch::{check_context, check_continuation, embed, embed_prompt, places};
use crate::cache::Origins;

/// A batch of texts in the middle of being written, each behind an encoded prompt.
///
/// The encoder reads in both directions: what it made of a beginning is of no use to a prompt that goes on otherwise.
pub(super) struct T5Text<'a> {
    model: &'a T5,
    layers: Vec<DecoderCache>,
    own: Origins,
    encoded: Origins,
    logits: Tensor<2>,
}

impl<'a> T5Text<'a> {
    /// No text yet.
    pub(super) fn new(model: &'a T5) -> Self {
        let layers = std::iter::repeat_with(DecoderCache::default);
        Self {
            layers: layers.take(model.config.decoder_layers).collect(),
            own: Origins::default(),
            encoded: Origins::default(),
            logits: Tensor::zeros([0, model.config.vocabulary_size], &model.device()),
            model,
        }
    }

    /// Adds rows that begin behind `encoded`, of which each reads as many places as `real` says.
    pub(super) fn join(&mut self, encoded: &Encoded, real: Vec<usize>) -> Result<(), ModelError> {
        let model = self.model;
        let mut layers = Vec::with_capacity(self.layers.len());
        let hidden = with_recomputed(&[], || {
            model.decode(encoded, &vec![&[][..]; real.len()], |layer| layers.push(layer))
        })?;
        let logits = model.head(hidden.squeeze_dim(1));
        self.logits = match self.own.rows() {
            0 => logits,
            _ => Tensor::cat(vec![self.logits.clone(), logits], 0),
        };
        self.own.join(&[vec![1; real.len()]]);
        self.encoded.join(&[real]);
        for (cache, DecoderBeginning { own, encoded }) in self.layers.iter_mut().zip(layers) {
            cache.own.add(own.key, own.value);
            cache.encoded.add(encoded.key, encoded.value);
        }
        Ok(())
    }
}

impl NextTokenModel for T5Text<'_> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let model = self.model;
        check_continuation(self.own.rows(), parents, tokens, &model.shared)?;
        let (own, encoded) = (self.own.follow(parents), self.encoded.follow(parents));
        for cache in &mut self.layers {
            cache.own.keep(&own);
            cache.encoded.keep(&encoded);
        }
        if parents.is_empty() {
            self.logits = Self::new(model).logits;
            return Ok(());
        }
        self.own.write();
        let embeddings = embed((&model.shared).into(), tokens, tokens.len());
        let hidden = model
            .decoder
            .step(embeddings, &mut self.layers, &self.own, &self.encoded);
        self.logits = model.head(hidden.squeeze_dim(1));
        Ok(())
    }
}

impl OpenTexts for T5Text<'_> {
    fn admit(&mut self, prompt: &[Segment]) -> Result<(), ModelError> {
        check_context(NAME, places(prompt), POSITIONS)?;
        let embeddings = embed_prompt(prompt, (&self.model.shared).into())?;
        let [_, places, _] = embeddings.dims();
        let encoded = self.model.encode_embedded(embeddings, &[places]);
        self.join(&encoded, vec![places])
    }

    fn room(&self, _prompt: &[Segment]) -> Option<usize> {
        None
    }
}
