//! What the Q-Former is measured against: the frozen encoder's mean feature with a linear projection, trained by the same
//! contrastive loss against the same text branch.

use blip2_core::layers::Linear;
use blip2_core::{Initializer, ModelError};
use blip2_data::text::BertTokenizer;
use blip2_objectives::{Embeddings, Terms, itc_loss, similarities};
use blip2_qformer::{RepresentationModel, TextBatch, unit_length};
use blip2_trainer::{Batch, Objective, Origin, StepContext, TrainError, bounded, tokenise};
use burn::module::Module;
use burn::tensor::Tensor;

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
    pub(crate) fn text_embeddings(&self, text: &TextBatch) -> Result<Tensor<2>, ModelError> {
        self.text.text_embeddings(text)
    }
}

/// Contrast alone: the term `itc`.
pub(crate) struct BaselineObjective<'a> {
    pub(crate) tokenizer: &'a BertTokenizer,
    pub(crate) max_text_tokens: usize,
    pub(crate) label_smoothing: f64,
    pub(crate) maximum_temperature: Option<f32>,
}

impl Objective<MeanBaseline> for BaselineObjective<'_> {
    fn terms(
        &self,
        model: &MeanBaseline,
        batch: &Batch,
        _context: &StepContext<'_>,
    ) -> Result<Terms, TrainError> {
        let captions = batch.rows.iter().map(|row| row.text.as_str());
        let texts = tokenise(self.tokenizer, captions, self.max_text_tokens)?;
        let texts = TextBatch::new(texts, &batch.features.device())?;
        let own = Embeddings {
            images: model.image_embeddings(batch.features.clone()),
            texts: model.text_embeddings(&texts)?,
        };
        let similarities = similarities(&own, &own, model.text.temperature.val());
        let mut terms = Terms::default();
        terms.add("itc", 1.0, itc_loss(&similarities, 0, self.label_smoothing));
        Ok(terms)
    }

    fn settle(&self, mut model: MeanBaseline) -> MeanBaseline {
        if let Some(limit) = self.maximum_temperature {
            model.text.temperature = bounded(model.text.temperature, limit);
        }
        model
    }
}

/// The text branch is BERT's, all else is new.
pub(crate) fn origin(path: &str) -> Origin {
    match path.starts_with("text.qformer.") {
        true => Origin::Pretrained,
        false => Origin::New,
    }
}
