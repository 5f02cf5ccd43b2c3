//! The stage-1 model: the Q-Former with the layer norm of its image features and the heads of its three objectives.

use blip2_core::layers::{LayerNorm, Linear, unit_length};
use blip2_core::{Initializer, ModelError};
use blip2_kernels::{self as kernels, CrossEntropyOptions};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::{ImageContext, QFormer, QFormerConfig, TextBatch};

/// Initial temperature of the contrastive similarity.
const INITIAL_TEMPERATURE: f32 = 0.07;

/// BERT's prediction head; its decoder is the word embedding.
#[derive(Module, Debug)]
pub struct LanguageHead {
    dense: Linear,
    layer_norm: LayerNorm,
    /// `[vocabulary]`.
    pub bias: Param<Tensor<1>>,
}

impl LanguageHead {
    pub(crate) fn new(initializer: &mut Initializer, config: &QFormerConfig) -> Self {
        let width = config.hidden_size;
        Self {
            dense: Linear::normal(initializer, width, width, config.initializer_range),
            layer_norm: LayerNorm::new(initializer, width, config.layer_norm_eps),
            bias: initializer.constant([config.vocab_size], 0.0),
        }
    }

    fn transform(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.layer_norm.forward(kernels::gelu(self.dense.forward(hidden)))
    }

    /// Logits `[rows, vocabulary]` of `hidden` `[rows, width]` with the decoder `[vocabulary, width]`.
    pub fn logits(&self, hidden: Tensor<2>, decoder: Tensor<2>) -> Tensor<2> {
        kernels::linear(self.transform(hidden), decoder, Some(self.bias.val()))
    }

    /// Mean cross-entropy `[1]` of `targets` `[rows]`, without holding the logits.
    pub fn loss(
        &self,
        hidden: Tensor<2>,
        decoder: Tensor<2>,
        targets: Tensor<1, Int>,
        label_smoothing: f64,
    ) -> Tensor<1> {
        let options = CrossEntropyOptions { label_smoothing };
        kernels::linear_cross_entropy(
            self.transform(hidden),
            decoder,
            Some(self.bias.val()),
            targets,
            options,
        )
    }
}

/// Sizes of the stage-1 model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepresentationConfig {
    /// The Q-Former.
    pub qformer: QFormerConfig,
    /// Width of the contrastive embeddings (256 in the paper).
    pub embedding_size: usize,
    /// Epsilon of the layer norm on image features: PyTorch's default, unlike the encoder's own.
    pub vision_layer_norm_eps: f64,
}

impl Default for RepresentationConfig {
    fn default() -> Self {
        Self {
            qformer: QFormerConfig::default(),
            embedding_size: 256,
            vision_layer_norm_eps: 1e-5,
        }
    }
}

/// Everything that stage 1 trains (LAVIS `blip2_qformer.py`).
#[derive(Module, Debug)]
pub struct RepresentationModel {
    /// Layer norm on the frozen encoder's features; trained though the encoder is not.
    pub vision_norm: LayerNorm,
    /// The bridge.
    pub qformer: QFormer,
    /// Writes text from the Q-Former's states.
    pub language_head: LanguageHead,
    /// From query states to contrastive embeddings.
    pub vision_projection: Linear,
    /// From the `[CLS]` state to contrastive embeddings.
    pub text_projection: Linear,
    /// From query states to (no match, match).
    pub matching_head: Linear,
    /// `[1]`; similarities are divided by it.
    pub temperature: Param<Tensor<1>>,
}

impl RepresentationModel {
    /// Random weights everywhere.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the configuration contradicts itself.
    pub fn new(initializer: &mut Initializer, config: &RepresentationConfig) -> Result<Self, ModelError> {
        let width = config.qformer.hidden_size;
        Ok(Self {
            vision_norm: LayerNorm::new(
                initializer,
                config.qformer.encoder_hidden_size,
                config.vision_layer_norm_eps,
            ),
            qformer: QFormer::new(initializer, &config.qformer, true)?,
            language_head: LanguageHead::new(initializer, &config.qformer),
            vision_projection: Linear::uniform(initializer, width, config.embedding_size),
            text_projection: Linear::uniform(initializer, width, config.embedding_size),
            matching_head: Linear::uniform(initializer, width, 2),
            temperature: initializer.constant([1], INITIAL_TEMPERATURE),
        })
    }

    /// Prepares `features` `[batch, patches, encoder width]` of the frozen encoder.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the width is another encoder's.
    pub fn image_context(&self, features: Tensor<3>) -> Result<ImageContext, ModelError> {
        self.qformer.image_context(self.normalise(features)?)
    }

    /// `features` `[batch, patches, encoder width]` of the frozen encoder as the Q-Former reads them.
    ///
    /// # Errors
    /// As for [`RepresentationModel::image_context`].
    pub fn normalise(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        self.qformer.check_features(&features)?;
        Ok(self.vision_norm.forward(features))
    }

    /// Unit-length image embeddings `[batch, queries, embedding]` of query states `[batch, queries, width]`.
    pub fn image_embeddings(&self, query_states: Tensor<3>) -> Tensor<3> {
        unit_length(self.vision_projection.forward(query_states))
    }

    /// Unit-length text embeddings `[batch, embedding]`.
    ///
    /// # Errors
    /// [`ModelError`] where the text does not fit the model.
    pub fn text_embeddings(&self, text: &TextBatch) -> Result<Tensor<2>, ModelError> {
        let class = self.qformer.text_pass(text, Some(1))?;
        let [batch, _, width] = class.dims();
        Ok(unit_length(
            self.text_projection.forward(class.reshape([batch, width])),
        ))
    }

    /// Matching logits `[batch, 2]` (no match, match) of the images of `context` with the texts: the mean over queries.
    ///
    /// # Errors
    /// [`ModelError`] where the text does not fit the model.
    pub fn matching_logits(&self, context: &ImageContext, text: &TextBatch) -> Result<Tensor<2>, ModelError> {
        Ok(self.match_logits(self.qformer.multimodal_pass(context, text)?))
    }

    /// Matching logits `[batch, 2]` of query states `[batch, queries, width]` that have seen image and text.
    pub(crate) fn match_logits(&self, states: Tensor<3>) -> Tensor<2> {
        let logits = self.matching_head.forward(states);
        let [batch, _, classes] = logits.dims();
        logits.mean_dim(1).reshape([batch, classes])
    }

    /// The word embedding `[vocabulary, width]`, which is also the decoder of the language head.
    pub fn decoder(&self) -> Tensor<2> {
        let embeddings = self.qformer.text_embeddings.as_ref();
        embeddings
            .expect("the stage-1 model is built with a text branch")
            .word_embeddings
            .weight
            .val()
    }
}
