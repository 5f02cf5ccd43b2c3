//! The stage-2 model: the bridge in front of a frozen language model (paper section 3.3, LAVIS `blip2_opt.py`, `blip2_t5.py`).

use blip2_core::layers::{LayerNorm, Linear};
use blip2_core::{Initializer, ModelError};
use burn::module::Module;
use burn::tensor::Tensor;

use crate::{QFormer, QFormerConfig, RepresentationModel, TextBatch};

/// What stage 2 trains: layer norm of the image features, queries and query branch, and the projection to the language
/// model's width.
#[derive(Module, Debug)]
pub struct Bridge {
    /// Layer norm on the frozen encoder's features.
    pub vision_norm: LayerNorm,
    /// Without text branch, but where an instruction goes in beside the queries (InstructBLIP).
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
        let qformer = QFormer::new(initializer, config, false)?;
        Ok(Self::around(
            initializer,
            qformer,
            vision_layer_norm_eps,
            hidden_size,
        ))
    }

    /// As [`Bridge::new`], with the text branch that reads instructions (InstructBLIP).
    ///
    /// # Errors
    /// As for [`Bridge::new`].
    pub fn instructed(
        initializer: &mut Initializer,
        config: &QFormerConfig,
        vision_layer_norm_eps: f64,
        hidden_size: usize,
    ) -> Result<Self, ModelError> {
        let qformer = QFormer::new(initializer, config, true)?;
        Ok(Self::around(
            initializer,
            qformer,
            vision_layer_norm_eps,
            hidden_size,
        ))
    }

    fn around(
        initializer: &mut Initializer,
        qformer: QFormer,
        vision_layer_norm_eps: f64,
        hidden_size: usize,
    ) -> Self {
        let (features, width) = (qformer.config().encoder_hidden_size, qformer.config().hidden_size);
        Self {
            vision_norm: LayerNorm::new(initializer, features, vision_layer_norm_eps),
            qformer,
            projection: Linear::uniform(initializer, width, hidden_size),
        }
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
        self.instructed_prompt(features, None)
    }

    /// As [`Bridge::soft_prompt`], where the Q-Former reads a text beside each image: an instruction (InstructBLIP), or the
    /// question (the paper's fine-tuning for VQA, section 4.3).
    ///
    /// # Errors
    /// As for [`Bridge::query_states`].
    pub fn instructed_prompt(
        &self,
        features: Tensor<3>,
        instructions: Option<&TextBatch>,
    ) -> Result<Tensor<3>, ModelError> {
        let states = self.query_states(self.normalise(features)?, instructions)?;
        Ok(self.projection.forward(states))
    }

    /// Whether the Q-Former has the text branch that reads instructions.
    pub fn reads_texts(&self) -> bool {
        self.qformer.reads_texts()
    }

    /// Image features `[batch, patches, encoder width]` as the Q-Former reads them.
    ///
    /// # Errors
    /// As for [`Bridge::soft_prompt`].
    pub fn normalise(&self, features: Tensor<3>) -> Result<Tensor<3>, ModelError> {
        self.qformer.check_features(&features)?;
        Ok(self.vision_norm.forward(features))
    }

    /// What the queries make of normalised features `[batch, patches, encoder width]`, before the projection
    /// `[batch, queries, width]`: alone, or seeing an instruction each (InstructBLIP, section 2.3 of Dai et al., 2023).
    ///
    /// # Errors
    /// [`ModelError`] where features, instructions and Q-Former do not fit each other.
    pub fn query_states(
        &self,
        normalised: Tensor<3>,
        instructions: Option<&TextBatch>,
    ) -> Result<Tensor<3>, ModelError> {
        let [batch, _, _] = normalised.dims();
        let context = self.qformer.image_context(normalised)?;
        match instructions {
            None => Ok(self.qformer.query_pass(&context, batch).hidden),
            Some(instructions) => self.qformer.multimodal_pass(&context, instructions),
        }
    }
}
