//! Stage 1: representation learning on the corpus.

use blip2_objectives::{NegativeSource, RepresentationOptions, representation_loss};
use blip2_qformer::RepresentationModel;
use burn::module::Param;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::corpus::Corpus;
use crate::training::{Origin, StepLoss, Task};
use crate::{StageRecipe, TrainError};

/// The parameter path of the learned queries, in stage 1 and 2.
pub(crate) const QUERY_TOKENS: &str = "qformer.query_tokens";

/// The three objectives on batches of scenes.
pub(crate) struct RepresentationTask<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) stage: &'a StageRecipe,
    pub(crate) options: RepresentationOptions,
    pub(crate) seed: u64,
    pub(crate) device: Device,
}

impl Task<RepresentationModel> for RepresentationTask<'_> {
    fn loss(&mut self, model: &RepresentationModel, step: u64) -> Result<StepLoss, TrainError> {
        let indices = self.corpus.batch(self.seed, self.stage.batch, step)?;
        let (features, texts) = self.corpus.pairs(&indices, &self.device)?;
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(step);
        let loss = representation_loss(
            model,
            features,
            &texts,
            &self.options,
            NegativeSource::Drawn(&mut generator),
        )?;
        let logged = step.is_multiple_of(self.stage.log_every) || step == 1;
        let read = loss.terms.iter().filter(|term| term.weight != 0.0 || logged);
        let terms = read.map(|term| (term.name, f64::from(term.value.clone().into_scalar::<f32>())));
        Ok(StepLoss {
            total: loss.terms.total().expect("all terms have a weight"),
            terms: terms.collect(),
        })
    }

    fn origin(&self, path: &str) -> Origin {
        from_bert(path)
    }

    fn settle(&self, mut model: RepresentationModel) -> RepresentationModel {
        if let Some(limit) = self.stage.maximum_temperature {
            model.temperature = bounded(model.temperature, limit);
        }
        model
    }
}

/// Before stage 1, BERT has given the embeddings, self-attention and both feed-forward networks.
pub(crate) fn from_bert(path: &str) -> Origin {
    if path == QUERY_TOKENS {
        Origin::Queries
    } else if path.starts_with("qformer.") && !path.contains("cross_attention") {
        Origin::Pretrained
    } else {
        Origin::New
    }
}

/// The temperature, kept at or below `limit`.
pub(crate) fn bounded(temperature: Param<Tensor<1>>, limit: f32) -> Param<Tensor<1>> {
    temperature.map(|value| {
        let device = value.device();
        Tensor::from_inner(value.inner().clamp_max(limit))
            .to_device(&device)
            .require_grad()
    })
}
