//! One step of stage 1: all three objectives at once.

use blip2_core::ModelError;
use blip2_qformer::{RepresentationModel, TextBatch};
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Negatives, contrast, draw_negatives, generation_loss, matching_loss};

/// What stage 1 leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepresentationOptions {
    /// Id of `[DEC]`, the first token of a text to generate.
    pub start_token: u32,
    /// Label smoothing of contrast and generation.
    pub label_smoothing: f64,
}

impl Default for RepresentationOptions {
    /// As LAVIS: `[DEC]` behind BERT's vocabulary, smoothing 0.1.
    fn default() -> Self {
        Self {
            start_token: 30_522,
            label_smoothing: 0.1,
        }
    }
}

/// The three losses, each `[1]`, and the negatives that matching was asked about.
#[derive(Clone, Debug)]
pub struct RepresentationLoss {
    /// Image-text contrast.
    pub contrastive: Tensor<1>,
    /// Image-text matching.
    pub matching: Tensor<1>,
    /// Image-grounded text generation.
    pub generation: Tensor<1>,
    /// `[1]`, without gradient: how far the query states of an image differ from one another (standard deviation over the
    /// queries, mean over images and dimensions). Near zero, all queries say the same.
    pub query_spread: Tensor<1>,
    /// As drawn, or as given.
    pub negatives: Negatives,
}

impl RepresentationLoss {
    /// The sum `[1]` that stage 1 minimises: equal weights.
    pub fn total(&self) -> Tensor<1> {
        self.contrastive.clone() + self.matching.clone() + self.generation.clone()
    }
}

/// Where the negatives of matching come from.
pub enum NegativeSource<'a> {
    /// Drawn by similarity.
    Drawn(&'a mut ChaCha8Rng),
    /// Given: a test that compares with recorded draws.
    Given(Negatives),
}

/// The losses of one batch: `features` `[batch, patches, encoder width]` of the frozen encoder and their texts.
///
/// The cross-attention keys and values of the images are computed once, for the query pass and all of matching.
///
/// # Errors
/// [`ModelError`] where features and texts do not fit each other or the model.
pub fn representation_loss(
    model: &RepresentationModel,
    features: Tensor<3>,
    texts: &TextBatch,
    options: &RepresentationOptions,
    negatives: NegativeSource<'_>,
) -> Result<RepresentationLoss, ModelError> {
    let [batch, _, _] = features.dims();
    if batch != texts.len() {
        return Err(ModelError::Invalid(format!(
            "{batch} images and {} texts are not a batch of pairs",
            texts.len()
        )));
    }
    let context = model.image_context(features)?;
    let images = model.qformer.query_pass(&context, batch);
    let contrast = contrast(
        model.image_embeddings(images.hidden.clone()),
        model.text_embeddings(texts)?,
        model.temperature.val(),
        options.label_smoothing,
    );
    let negatives = match negatives {
        NegativeSource::Drawn(generator) => draw_negatives(&contrast, generator)?,
        NegativeSource::Given(negatives) => negatives,
    };
    let matching = matching_loss(model, &context, texts, &negatives)?;
    let generation = generation_loss(
        model,
        &images,
        texts,
        options.start_token,
        options.label_smoothing,
    )?;
    let query_spread = images.hidden.detach().var_bias(1).sqrt().mean();
    Ok(RepresentationLoss {
        contrastive: contrast.loss,
        matching,
        generation,
        query_spread,
        negatives,
    })
}
