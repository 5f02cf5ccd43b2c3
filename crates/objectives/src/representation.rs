//! What stage 1 minimises: all three objectives at once.

use blip2_core::ModelError;
use blip2_qformer::{RepresentationModel, TextBatch};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{NegativeSource, NegativeWeights, Negatives, RepresentationStep, Terms};

/// What stage 1 leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepresentationOptions {
    /// Id of `[DEC]`, the first token of a text to generate.
    pub start_token: u32,
    /// Label smoothing of contrast and generation.
    pub label_smoothing: f64,
    /// Shares of the loss.
    pub weights: RepresentationWeights,
    /// How likely each partner is as a negative.
    pub negatives: NegativeWeights,
    /// What generation is averaged over.
    pub itg_mean: ItgMean,
}

impl Default for RepresentationOptions {
    /// As LAVIS: `[DEC]` behind BERT's vocabulary, smoothing 0.1, equal weights.
    fn default() -> Self {
        Self {
            start_token: 30_522,
            label_smoothing: 0.1,
            weights: RepresentationWeights::default(),
            negatives: NegativeWeights::default(),
            itg_mean: ItgMean::default(),
        }
    }
}

/// Shares of the loss. A term of weight 0 is not computed: `itg = 0.0` is the ablation of the paper's table 6.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepresentationWeights {
    /// Image-text contrast.
    pub itc: f64,
    /// Image-text matching.
    pub itm: f64,
    /// Image-grounded text generation.
    pub itg: f64,
}

impl Default for RepresentationWeights {
    fn default() -> Self {
        Self {
            itc: 1.0,
            itm: 1.0,
            itg: 1.0,
        }
    }
}

/// What the loss of generation is the mean over, where the batch has several parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ItgMean {
    /// The tokens of a part, then the parts: as LAVIS on that many ranks. A token of a part with short texts counts more.
    #[default]
    Part,
    /// The tokens of the global batch: the same for any number of parts.
    Global,
}

/// The terms of one part, and what it was asked about.
#[derive(Clone, Debug)]
pub struct RepresentationLoss {
    /// `itc`, `itm` and `itg` as far as they have a weight. Watched: `query_spread`, how far the query states of an image differ
    /// from one another (standard deviation over the queries, mean over images and dimensions; near zero, all queries say the
    /// same), and `temperature`.
    pub terms: Terms,
    /// The negatives of matching by their row in the global batch, as drawn or as given; none where matching has no weight.
    pub negatives: Negatives,
}

/// The losses of a batch in one part: `features` `[batch, patches, encoder width]` of the frozen encoder and their texts.
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
    let step = RepresentationStep::new(model, options, texts.rows(), 1, negatives, 0)?;
    step.part(0, &mut |_| Ok(features.clone()))
}
