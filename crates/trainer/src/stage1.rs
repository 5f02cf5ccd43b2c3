//! Stage 1: representation learning by contrast (ITC), matching against hard negatives (ITM) and generation (ITG).

use blip2_data::text::BertTokenizer;
use blip2_evaluation::retrieval::MAX_TEXT_TOKENS;
use blip2_objectives::{
    NegativeSource, RepresentationLoss, RepresentationOptions, RepresentationStep, StepGradients, Terms,
};
use blip2_qformer::RepresentationModel;
use burn::module::Param;
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::ranks::{Elsewhere, gather_embeddings, gather_lengths, gather_pictures, mean_over_ranks};
use crate::{
    Batch, Evaluator, HeldOut, HeldOutRetrieval, Objective, Sighted, StepContext, TrainError, tokenise,
};

/// Texts of a picture, and pictures of a text, that are re-ranked where retrieval is measured on the way.
const CANDIDATES: usize = 16;

/// The three objectives of stage 1 (paper section 3.2): terms `itc`, `itm`, `itg`, and, watched, `temperature` and `query_spread`.
pub struct RepresentationObjective<'a> {
    /// The Q-Former's.
    pub tokenizer: &'a BertTokenizer,
    /// Longest text in tokens, special ones included.
    pub max_text_tokens: usize,
    /// What the objectives leave open.
    pub options: RepresentationOptions,
    /// The temperature is kept at or below this.
    pub maximum_temperature: Option<f32>,
    /// Whether rows with the same image id are right answers to each other, and no negatives.
    pub image_ids: bool,
}

impl<M: Sighted<Model = RepresentationModel>> Objective<M> for RepresentationObjective<'_> {
    fn terms(&self, model: &M, batch: &Batch, context: &StepContext<'_>) -> Result<Terms, TrainError> {
        let texts = self.tokenise(batch)?;
        let pictures = self.image_ids.then(|| pictures(batch, 0));
        let negatives = &mut negatives(context);
        let drawn = NegativeSource::Drawn(negatives);
        let step = RepresentationStep::new(model.model(), &self.options, &texts, 1, drawn, 0)?;
        let step = match &pictures {
            Some(pictures) => step.showing(pictures)?,
            None => step,
        };
        let loss = step.part(0, &mut |rows: &[usize]| model.features(batch, rows));
        loss.map(|loss: RepresentationLoss| loss.terms)
    }

    /// Parts compare themselves with the embeddings of the global batch, and draw their negatives from it.
    fn gradients(
        &self,
        model: &M,
        batch: &Batch,
        context: &StepContext<'_>,
    ) -> Result<StepGradients, TrainError> {
        let negatives = &mut negatives(context);
        let drawn = NegativeSource::Drawn(negatives);
        let pictures = match self.image_ids {
            true => {
                let first = context.ranks.rank() * batch.rows.len();
                Some(gather_pictures(context.ranks, &pictures(batch, first))?)
            }
            false => None,
        };
        let texts = self.tokenise(batch)?;
        let rows = (texts.as_slice(), pictures.as_deref());
        representation_gradients(model, &self.options, batch, rows, drawn, context)
    }

    /// Retrieval both ways, the best 16 re-ranked.
    fn evaluator<'a>(&'a self, held_out: HeldOut<'a>) -> Option<Box<dyn Evaluator<M> + 'a>> {
        Some(Box::new(HeldOutRetrieval {
            samples: held_out,
            tokenizer: self.tokenizer,
            max_text_tokens: MAX_TEXT_TOKENS,
            candidates: CANDIDATES,
        }))
    }

    fn settle(&self, model: M) -> M {
        let Some(limit) = self.maximum_temperature else {
            return model;
        };
        model.map_model(|model| RepresentationModel {
            temperature: bounded(model.temperature, limit),
            ..model
        })
    }
}

impl RepresentationObjective<'_> {
    fn tokenise(&self, batch: &Batch) -> Result<Vec<Vec<u32>>, TrainError> {
        let captions = batch.rows.iter().map(|row| row.text.as_str());
        tokenise(self.tokenizer, captions, self.max_text_tokens)
    }
}

/// The mean gradients and terms of stage 1 over the parts of all ranks. `batch` has the rows of this rank, whose token ids, with
/// `[CLS]` first, are `rows.0`; `rows.1`, where it is given, says which picture each row of the global batch shows, and `negatives`
/// are those of the global batch.
///
/// # Errors
/// [`TrainError`] where model and batch do not fit each other, or ranks do not meet.
pub fn representation_gradients<M: Sighted<Model = RepresentationModel>>(
    model: &M,
    options: &RepresentationOptions,
    batch: &Batch,
    (texts, pictures): (&[Vec<u32>], Option<&[u64]>),
    negatives: NegativeSource<'_>,
    context: &StepContext<'_>,
) -> Result<StepGradients, TrainError> {
    let (ranks, parts) = (context.ranks, context.own_parts());
    let rows = ranks.rank() * texts.len()..(ranks.rank() + 1) * texts.len();
    let (lengths, seed) = (gather_lengths(ranks, texts)?, context.device_seed());
    let own = (rows.start, texts);
    let mut step = RepresentationStep::of_share(
        model.model(),
        options,
        own,
        &lengths,
        context.parts,
        negatives,
        seed,
    )?;
    if let Some(pictures) = pictures {
        step = step.showing(pictures)?;
    }
    let mut elsewhere = Elsewhere::default();
    if step.meets() {
        if model.makes_features() && !ranks.is_alone() {
            return Err(TrainError::Ranks(
                "an encoder that is trained in stage 1 needs a single rank: features of negatives would travel without gradient"
                    .to_owned(),
            ));
        }
        let here = &mut |wanted: &[usize]| elsewhere.features_of(wanted, (model, batch), &rows);
        let embeddings = step.embeddings(parts.clone(), here)?;
        step = step.against(gather_embeddings(ranks, embeddings)?, parts.clone())?;
        elsewhere = Elsewhere::exchange(ranks, batch, texts, &rows, &step)?;
        step.know(elsewhere.texts.drain(..));
    }
    let features = &mut |wanted: &[usize]| elsewhere.features_of(wanted, (model, batch), &rows);
    let sums = step.sums(model, parts, context.order, features)?;
    mean_over_ranks(model, sums, context)
}

/// A number for the picture of each row of `batch`, the first of which is row `first` of the global batch: the same for rows with the
/// same image id, and another for each row without one.
fn pictures(batch: &Batch, first: usize) -> Vec<u64> {
    let rows = (first..).zip(&batch.rows);
    rows.map(|(number, row)| {
        let name = match &row.image_id {
            Some(id) => format!("image {id}"),
            None => format!("row {number}"),
        };
        let hash = Sha256::digest(name);
        u64::from_le_bytes(hash.first_chunk().copied().unwrap_or_default())
    })
    .collect()
}

/// What negatives of this step are drawn with.
fn negatives(context: &StepContext<'_>) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(context.seed);
    generator.set_stream(context.step);
    generator
}

/// The temperature, kept at or below `limit`.
pub fn bounded(temperature: Param<Tensor<1>>, limit: f32) -> Param<Tensor<1>> {
    temperature.map(|value| {
        let device = value.device();
        Tensor::from_inner(value.inner().clamp_max(limit))
            .to_device(&device)
            .require_grad()
    })
}
