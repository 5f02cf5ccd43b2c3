//! What the Q-Former is measured against: the frozen encoder's mean feature with a linear projection, trained by the same
//! contrastive loss against the same text branch.

use blip2_core::Initializer;
use blip2_core::layers::Linear;
use blip2_objectives::{Embeddings, itc_loss, similarities};
use blip2_qformer::{RepresentationModel, TextBatch, unit_length};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::corpus::Corpus;
use crate::representation::bounded;
use crate::training::{Origin, StepLoss, Task};
use crate::{StageRecipe, TrainError};

/// A mean-pooled image tower beside the text branch of the Q-Former.
#[derive(Module, Debug)]
pub(crate) struct MeanBaseline {
    projection: Linear,
    text: RepresentationModel,
}

impl MeanBaseline {
    pub(crate) fn new(initializer: &mut Initializer, text: RepresentationModel, embedding: usize) -> Self {
        let width = text.qformer.config().encoder_hidden_size;
        Self {
            projection: Linear::uniform(initializer, width, embedding),
            text,
        }
    }

    /// Unit-length embeddings `[batch, 1, embedding]` of features `[batch, tokens, width]`.
    pub(crate) fn image_embeddings(&self, features: Tensor<3>) -> Tensor<3> {
        let mean = self.text.vision_norm.forward(features).mean_dim(1);
        unit_length(self.projection.forward(mean))
    }

    /// Unit-length embeddings `[batch, embedding]`.
    pub(crate) fn text_embeddings(&self, text: &TextBatch) -> Result<Tensor<2>, TrainError> {
        Ok(self.text.text_embeddings(text)?)
    }
}

/// Contrast alone.
pub(crate) struct BaselineTask<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) stage: &'a StageRecipe,
    pub(crate) label_smoothing: f64,
    pub(crate) seed: u64,
    pub(crate) device: Device,
}

impl Task<MeanBaseline> for BaselineTask<'_> {
    fn loss(&mut self, model: &MeanBaseline, step: u64) -> Result<StepLoss, TrainError> {
        let indices = self.corpus.batch(self.seed, self.stage.batch, step)?;
        let (features, texts) = self.corpus.pairs(&indices, &self.device)?;
        let own = Embeddings {
            images: model.image_embeddings(features),
            texts: model.text_embeddings(&texts)?,
        };
        let similarities = similarities(&own, &own, model.text.temperature.val());
        let total = itc_loss(&similarities, 0, self.label_smoothing);
        let itc = f64::from(total.clone().into_scalar::<f32>());
        Ok(StepLoss {
            total,
            terms: vec![("itc", itc)],
        })
    }

    fn origin(&self, path: &str) -> Origin {
        if path.starts_with("text.qformer.") {
            Origin::Pretrained
        } else {
            Origin::New
        }
    }

    fn settle(&self, mut model: MeanBaseline) -> MeanBaseline {
        if let Some(limit) = self.stage.maximum_temperature {
            model.text.temperature = bounded(model.text.temperature, limit);
        }
        model
    }
}
