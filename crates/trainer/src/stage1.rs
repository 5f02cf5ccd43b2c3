//! Stage 1: representation learning by contrast (ITC), matching against hard negatives (ITM) and generation (ITG).

use blip2_data::text::{BertTokenizer, Padding};
use blip2_objectives::{
    NegativeSource, RepresentationOptions, RepresentationStep, StepGradients, Terms, representation_loss,
};
use blip2_qformer::{RepresentationModel, TextBatch};
use burn::module::Param;
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::ranks::{Elsewhere, gather_embeddings, gather_lengths, mean_over_ranks};
use crate::{Batch, Objective, StepContext, TrainError};

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
}

impl Objective<RepresentationModel> for RepresentationObjective<'_> {
    fn terms(
        &self,
        model: &RepresentationModel,
        batch: &Batch,
        context: &StepContext<'_>,
    ) -> Result<Terms, TrainError> {
        let texts = TextBatch::new(self.tokenise(batch)?, &batch.features.device())?;
        let negatives = &mut negatives(context);
        let loss = representation_loss(
            model,
            batch.features.clone(),
            &texts,
            &self.options,
            NegativeSource::Drawn(negatives),
        )?;
        Ok(loss.terms)
    }

    /// Parts compare themselves with the embeddings of the global batch, and draw their negatives from it.
    fn gradients(
        &self,
        model: &RepresentationModel,
        batch: &Batch,
        context: &StepContext<'_>,
    ) -> Result<StepGradients, TrainError> {
        let negatives = &mut negatives(context);
        let drawn = NegativeSource::Drawn(negatives);
        representation_gradients(
            model,
            &self.options,
            batch,
            &self.tokenise(batch)?,
            drawn,
            context,
        )
    }

    fn settle(&self, mut model: RepresentationModel) -> RepresentationModel {
        if let Some(limit) = self.maximum_temperature {
            model.temperature = bounded(model.temperature, limit);
        }
        model
    }
}

impl RepresentationObjective<'_> {
    fn tokenise(&self, batch: &Batch) -> Result<Vec<Vec<u32>>, TrainError> {
        let captions = batch.rows.iter().map(|row| row.text.as_str());
        tokenise(self.tokenizer, captions, self.max_text_tokens)
    }
}

/// The mean gradients and terms of stage 1 over the parts of all ranks. `batch` and `texts`, token ids with `[CLS]` first, are the
/// rows of this rank; `negatives` those of the global batch.
///
/// # Errors
/// [`TrainError`] where model and batch do not fit each other, or ranks do not meet.
pub fn representation_gradients(
    model: &RepresentationModel,
    options: &RepresentationOptions,
    batch: &Batch,
    texts: &[Vec<u32>],
    negatives: NegativeSource<'_>,
    context: &StepContext<'_>,
) -> Result<StepGradients, TrainError> {
    let (ranks, parts) = (context.ranks, context.own_parts());
    let rows = ranks.rank() * texts.len()..(ranks.rank() + 1) * texts.len();
    let (lengths, seed) = (gather_lengths(ranks, texts)?, context.device_seed());
    let own = (rows.start, texts);
    let mut step =
        RepresentationStep::of_share(model, options, own, &lengths, context.parts, negatives, seed)?;
    let mut elsewhere = Elsewhere::default();
    if step.meets() {
        let here = &mut |wanted: &[usize]| elsewhere.features_of(wanted, batch, &rows);
        let embeddings = step.embeddings(parts.clone(), here)?;
        step = step.against(gather_embeddings(ranks, embeddings)?);
        let drawn = parts.clone().map(|part| step.negatives(part));
        let drawn = drawn.collect::<Result<Vec<_>, _>>()?;
        elsewhere = Elsewhere::exchange(ranks, batch, texts, &rows, &drawn)?;
        step.know(elsewhere.texts.drain(..));
    }
    let features = &mut |wanted: &[usize]| elsewhere.features_of(wanted, batch, &rows);
    let sums = step.sums(parts, context.order, features)?;
    mean_over_ranks(model, sums, context)
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

/// Ids of each text, cleaned as LAVIS's `BlipCaptionProcessor` does, cut to `max_tokens` with `[CLS]` and `[SEP]`, without
/// padding.
///
/// # Errors
/// [`TrainError::Text`] where the tokenizer refuses.
pub fn tokenise<'a>(
    tokenizer: &BertTokenizer,
    texts: impl Iterator<Item = &'a str>,
    max_tokens: usize,
) -> Result<Vec<Vec<u32>>, TrainError> {
    let texts: Vec<String> = texts.map(|text| blip2_data::text::caption(text, "")).collect();
    let batch = tokenizer.encode(&texts, max_tokens, Padding::Longest)?;
    let rows = batch.ids.into_iter().zip(batch.mask);
    Ok(rows
        .map(|(ids, mask)| {
            ids.into_iter()
                .zip(mask)
                .filter(|(_, seen)| *seen)
                .map(|(id, _)| id)
                .collect()
        })
        .collect())
}
