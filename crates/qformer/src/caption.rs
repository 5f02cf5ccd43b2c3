//! Writing captions with the Q-Former alone, from the query states of stage 1.

use blip2_core::{ModelError, NextTokenModel};
use burn::tensor::{Device, Tensor};

use crate::attention::KeyValue;
use crate::{QueryOutput, RepresentationModel, TextBatch};

/// Captions in the middle of being written. They begin with `[DEC]` and read the image through the cached queries.
pub struct CaptionDecoder<'a> {
    model: &'a RepresentationModel,
    past: Vec<KeyValue>,
    position: usize,
    logits: Tensor<2>,
}

impl<'a> CaptionDecoder<'a> {
    /// Ready to write the first word on each image of `images`; `start` is the id of `[DEC]`.
    ///
    /// # Errors
    /// [`ModelError::Vocabulary`] where `start` lies outside of the vocabulary.
    pub fn start(
        model: &'a RepresentationModel,
        images: &QueryOutput,
        start: u32,
    ) -> Result<Self, ModelError> {
        let [batch, _, _] = images.hidden.dims();
        let mut decoder = Self {
            model,
            past: Vec::new(),
            position: 0,
            logits: Tensor::zeros([0, 0], &images.hidden.device()),
        };
        let start = next_words(&vec![start; batch], &model.qformer.device())?;
        decoder.feed(images.cache.clone(), &start)?;
        Ok(decoder)
    }

    /// Writes `text`, one word a row, behind `past`; nothing has changed where it is refused.
    fn feed(&mut self, mut past: Vec<KeyValue>, text: &TextBatch) -> Result<(), ModelError> {
        let hidden = self.model.qformer.step(&mut past, text, self.position)?;
        let [rows, _, width] = hidden.dims();
        self.logits = self
            .model
            .language_head
            .logits(hidden.reshape([rows, width]), self.model.decoder());
        self.past = past;
        self.position += 1;
        Ok(())
    }
}

impl NextTokenModel for CaptionDecoder<'_> {
    fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    fn advance(&mut self, parents: &[usize], tokens: &[u32]) -> Result<(), ModelError> {
        let text = continued(&self.logits, parents, tokens)?;
        let chosen = |past: &KeyValue| past.select(parents).gathered();
        let past = self.past.iter().map(chosen).collect();
        self.feed(past, &text)
    }
}

/// The next word of each of the rows `parents` of what was written behind `logits` `[rows, vocabulary]`.
///
/// # Errors
/// [`ModelError::Invalid`] where parents and tokens do not continue it.
pub(crate) fn continued(
    logits: &Tensor<2>,
    parents: &[usize],
    tokens: &[u32],
) -> Result<TextBatch, ModelError> {
    let rows = logits.dims()[0];
    if parents.is_empty() || parents.len() != tokens.len() || parents.iter().any(|parent| *parent >= rows) {
        return Err(ModelError::Invalid(format!(
            "{} parents and {} tokens do not continue {rows} rows",
            parents.len(),
            tokens.len()
        )));
    }
    next_words(tokens, &logits.device())
}

/// One word a row.
fn next_words(tokens: &[u32], device: &Device) -> Result<TextBatch, ModelError> {
    TextBatch::new(tokens.iter().map(|token| vec![*token]).collect(), device)
}
