//! Stage 2: the bridge in front of a frozen language model (paper section 3.3, LAVIS `blip2_opt.py`, `blip2_t5.py`).

use blip2_core::layers::{LayerNorm, Linear};
use blip2_core::{Initializer, LanguageModel, ModelError, TextExample};
use blip2_qformer::{QFormer, QFormerConfig, RepresentationModel};
use burn::module::Module;
use burn::tensor::Tensor;

/// What stage 2 trains: layer norm of the image features, queries and query branch, and the projection to the language
/// model's width.
#[derive(Module, Debug)]
pub struct Bridge {
    /// Layer norm on the frozen encoder's features.
    pub vision_norm: LayerNorm,
    /// Without text branch.
    pub qformer: QFormer,
    /// From the Q-Former's width to the language model's.
    pub projection: Linear,
}

impl Bridge {
    /// Random weights everywhere, towards a language model of `hidden_size`.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the configuration contradicts itself.
    pub fn new(
        initializer: &mut Initializer,
        config: &QFormerConfig,
        vision_layer_norm_eps: f64,
        hidden_size: usize,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            vision_norm: LayerNorm::new(initializer, config.encoder_hidden_size, vision_layer_norm_eps),
            qformer: QFormer::new(initializer, config, false)?,
            projection: Linear::uniform(initializer, config.hidden_size, hidden_size),
        })
    }

    /// The bridge of a stage-1 model: its text branch and heads are dropped, the projection is new.
    pub fn from_representation(
        initializer: &mut Initializer,
        model: RepresentationModel,
        hidden_size: usize,
    ) -> Self {
        let width = model.qformer.config().hidden_size;
        Self {
            vision_norm: model.vision_norm,
            qformer: model.qformer.without_text(),
            projection: Linear::uniform(initializer, width, hidden_size),
        }
    }

    /// Image features `[batch, patches, encoder width]` as a soft prompt `[batch, queries, hidden]`.
    ///
    /// # Errors
    /// [`ModelError::Shape`] where the features are another encoder's.
    pub fn soft_prompt(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        let [batch, _, width] = features.dims();
        let normalised = if width == self.qformer.config().encoder_hidden_size {
            self.vision_norm.forward(features)
        } else {
            features
        };
        let context = self.qformer.image_context(normalised)?;
        Ok(self
            .projection
            .forward(self.qformer.query_pass(&context, batch).hidden))
    }

    /// The language-modelling loss `[1]` of `examples` behind the images. Gradients reach the bridge alone.
    ///
    /// # Errors
    /// [`ModelError`] where features, examples and models do not fit each other.
    pub fn loss(
        &self,
        language_model: &dyn LanguageModel,
        features: Tensor<3>,
        examples: &[TextExample],
    ) -> Result<Tensor<1>, ModelError> {
        language_model.loss(self.soft_prompt(features)?, examples)
    }
}
