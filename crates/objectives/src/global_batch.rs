//! A step of stage 1 on a global batch, cut in parts as the reference cuts it over its ranks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use blip2_core::ModelError;
use blip2_qformer::{ImageContext, RepresentationModel, TextBatch};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::hard_negatives::Draws;
use crate::{
    Embeddings, ItgMean, NegativeSource, Negatives, PartSums, RepresentationLoss, RepresentationOptions,
    Similarities, StepGradients, SumOrder, Terms, itc_loss, itc_loss_among, itg_loss, itm_logits, itm_loss,
    similarities, sums_of_parts,
};

/// How far the seeds of two parts lie apart: not by 1, which is what steps are apart.
const SEEDS_APART: u64 = 0xD1B5_4A32_D192_ED03;

/// The features `[rows, patches, encoder width]` of a frozen encoder for some rows of a global batch, which may lie in another
/// part: read from a store, encoded anew, or sent by another device. They travel before the layer norm, which is applied here:
/// then no gradient has to travel back.
pub type FeaturesOf<'a, E> = &'a mut dyn FnMut(&[usize]) -> Result<Tensor<3>, E>;

/// A step of stage 1 on a global batch.
///
/// On one device [`RepresentationStep::gradients`] is all that is needed. On several, each has a share of the texts
/// ([`RepresentationStep::of_share`]), embeds its parts ([`RepresentationStep::embeddings`]), is given what all of them made
/// ([`RepresentationStep::against`]), asks the others for the negatives that it has drawn ([`RepresentationStep::drawn`],
/// [`RepresentationStep::know`]), and takes the gradients of its parts ([`RepresentationStep::sums`]).
pub struct RepresentationStep<'a> {
    model: &'a RepresentationModel,
    options: &'a RepresentationOptions,
    /// By row of the global batch, as far as they are known here.
    texts: BTreeMap<usize, Vec<u32>>,
    pairs: usize,
    /// Which picture each row shows; `None` where each shows its own.
    pictures: Option<&'a [u64]>,
    /// Tokens of the global batch that generation predicts.
    predicted: usize,
    parts: usize,
    draws: Draws,
    /// By part, as far as they were drawn ahead.
    drawn: BTreeMap<usize, Negatives>,
    seed: u64,
    /// Of the whole batch; `None` with a single part, which knows them itself.
    all: Option<Embeddings>,
}

impl<'a> RepresentationStep<'a> {
    /// A step on as many pairs as there are `texts` (token ids, `[CLS]` first), cut in `parts` of neighbouring rows. With
    /// several parts, `seed` decides the dropout of each: both times that a part is computed, the device's generator is seeded.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where the parts do not hold the same number of pairs each, or the given negatives are none of
    /// this batch.
    pub fn new(
        model: &'a RepresentationModel,
        options: &'a RepresentationOptions,
        texts: &'a [Vec<u32>],
        parts: usize,
        negatives: NegativeSource<'_>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        Self::of_share(model, options, (0, texts), &lengths, parts, negatives, seed)
    }

    /// The same where only some of the texts are known: those of the rows from `own.0` on. `lengths` are those of all texts, in
    /// tokens.
    ///
    /// # Errors
    /// As for [`RepresentationStep::new`].
    pub fn of_share(
        model: &'a RepresentationModel,
        options: &'a RepresentationOptions,
        own: (usize, &[Vec<u32>]),
        lengths: &[usize],
        parts: usize,
        negatives: NegativeSource<'_>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let pairs = lengths.len();
        if parts == 0 || pairs == 0 || !pairs.is_multiple_of(parts) {
            return Err(ModelError::Invalid(format!(
                "a batch of {pairs} pairs cannot be cut in {parts} equal parts: choose a number of parts that divides it"
            )));
        }
        Ok(Self {
            model,
            options,
            texts: (own.0..).zip(own.1.iter().cloned()).collect(),
            pairs,
            pictures: None,
            predicted: lengths.iter().map(|length| length.saturating_sub(1)).sum(),
            parts,
            draws: Draws::new(negatives, pairs)?,
            drawn: BTreeMap::new(),
            seed,
            all: None,
        })
    }

    /// The same where rows may show the same picture: `pictures` holds a number for that of each row. Pairs of one picture are right
    /// answers of contrast to each other, and no negatives of matching (LAVIS's main branch with image ids).
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where there is not one number a row.
    pub fn showing(self, pictures: &'a [u64]) -> Result<Self, ModelError> {
        if pictures.len() != self.pairs {
            return Err(ModelError::Invalid(format!(
                "{} image ids for {} pairs: give one a pair",
                pictures.len(),
                self.pairs
            )));
        }
        Ok(Self {
            pictures: Some(pictures),
            ..self
        })
    }

    /// The mean gradients and terms of all parts, computed one after the other. `features` is asked for the rows of a part, and
    /// for those negatives of a part that lie elsewhere; with several parts for each part twice, first for the embeddings that
    /// all parts are compared with.
    ///
    /// # Errors
    /// What `features` fails with; [`ModelError`] where features, texts and model do not fit each other.
    pub fn gradients<E: From<ModelError>>(self, features: FeaturesOf<'_, E>) -> Result<StepGradients, E> {
        let model = self.model;
        self.gradients_within(model, features)
    }

    /// As [`RepresentationStep::gradients`], of all of `whole`: a module that holds the model of the step and whatever else of it
    /// has a part in `features`, such as an encoder that is trained.
    ///
    /// # Errors
    /// As for [`RepresentationStep::gradients`].
    pub fn gradients_within<M: Module, E: From<ModelError>>(
        mut self,
        whole: &M,
        features: FeaturesOf<'_, E>,
    ) -> Result<StepGradients, E> {
        if self.meets() {
            let (own, all) = (0..self.parts, self.embeddings(0..self.parts, features)?);
            self = self.against(all, own)?;
        }
        let sums = self.sums(whole, 0..self.parts, SumOrder::Free, features)?;
        let nothing = || ModelError::Invalid("a batch needs at least one part".to_owned());
        Ok(sums.mean(whole).ok_or_else(nothing)?)
    }

    /// Whether parts have to know of each other.
    pub fn meets(&self) -> bool {
        self.parts > 1 && self.compares()
    }

    /// What all others compare with the parts `own`.
    ///
    /// # Errors
    /// As for [`RepresentationStep::gradients`].
    pub fn embeddings<E: From<ModelError>>(
        &self,
        own: Range<usize>,
        features: FeaturesOf<'_, E>,
    ) -> Result<Embeddings, E> {
        let model = untracked(self.model);
        let parts = own.map(|part| self.embed(&model, part, features));
        Ok(Embeddings::gathered(parts.collect::<Result<_, E>>()?))
    }

    /// Gradients of `whole`, which holds the model of the step, and terms of the parts `own`, one after the other.
    ///
    /// # Errors
    /// As for [`RepresentationStep::gradients`].
    pub fn sums<M: Module, E: From<ModelError>>(
        &self,
        whole: &M,
        own: Range<usize>,
        order: SumOrder,
        features: FeaturesOf<'_, E>,
    ) -> Result<PartSums, E> {
        sums_of_parts(whole, self.parts, own, order, |part| {
            Ok(self.part(part, features)?.terms)
        })
    }

    /// What the other parts compare with `part`, as `model` sees it: the model of the step, without gradients.
    ///
    /// # Errors
    /// As for [`RepresentationStep::gradients`].
    pub fn embed<E: From<ModelError>>(
        &self,
        model: &RepresentationModel,
        part: usize,
        features: FeaturesOf<'_, E>,
    ) -> Result<Embeddings, E> {
        let (rows, texts) = self.begin(part)?;
        let context = prepared(model, rows.clone(), features)?;
        let images = model.qformer.query_pass(&context, rows.len()).hidden;
        let embeddings = Embeddings {
            images: model.image_embeddings(images).inner(),
            texts: model.text_embeddings(&texts)?.inner(),
        };
        drop(context);
        sweep(&texts.ids.device());
        Ok(embeddings)
    }

    /// Compares with `all` embeddings of the global batch from now on, and draws the negatives of the parts `own` by them: whoever asks,
    /// and whatever the losses are computed with, they are the same. This is the one place where a step waits for its device, before
    /// the passes of the first part are asked for, and once for all parts.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] where there is no such part, and as for [`crate::negative_weights`].
    pub fn against(mut self, all: Embeddings, own: Range<usize>) -> Result<Self, ModelError> {
        if self.options.weights.itm != 0.0 && !own.is_empty() {
            let rows = self.rows(own.start)?.start..self.rows(own.end - 1)?.end;
            // Each part by itself: kernels may add up in another order where there are more rows.
            let parts = own.clone().map(|part| self.similarities(part, &all));
            let parts: Vec<Similarities> = parts.collect::<Result<_, _>>()?;
            let (image_to_text, text_to_image) = parts
                .into_iter()
                .map(|part| (part.image_to_text, part.text_to_image))
                .unzip();
            let similarities = Similarities {
                image_to_text: Tensor::cat(image_to_text, 0),
                text_to_image: Tensor::cat(text_to_image, 0),
            };
            let rule = self.options.negatives;
            let Negatives { images, texts } =
                self.draws.negatives(&similarities, rows, rule, self.pictures)?;
            let pairs = self.pairs / self.parts;
            let parts = images.chunks(pairs).zip(texts.chunks(pairs));
            let parts = parts.map(|(images, texts)| Negatives {
                images: images.to_vec(),
                texts: texts.to_vec(),
            });
            self.drawn.extend(own.zip(parts));
        }
        self.all = Some(all);
        Ok(self)
    }

    /// How alike `part` and the whole batch are by `all` embeddings, without graph.
    fn similarities(&self, part: usize, all: &Embeddings) -> Result<Similarities, ModelError> {
        let rows = self.rows(part)?;
        let own = Embeddings {
            images: all.images.clone().narrow(0, rows.start, rows.len()),
            texts: all.texts.clone().narrow(0, rows.start, rows.len()),
        };
        Ok(similarities(&own, all, self.model.temperature.val().inner()))
    }

    /// The negatives that were drawn for the parts of [`RepresentationStep::against`]; none where matching has no weight.
    pub fn drawn(&self) -> impl Iterator<Item = &Negatives> {
        self.drawn.values()
    }

    /// Texts of rows that lie elsewhere, which were drawn as negatives.
    pub fn know(&mut self, texts: impl IntoIterator<Item = (usize, Vec<u32>)>) {
        self.texts.extend(texts);
    }

    /// The terms of `part`. The cross-attention keys and values of an image are computed once, for the query pass and all of
    /// matching.
    ///
    /// # Errors
    /// As for [`RepresentationStep::gradients`].
    pub fn part<E: From<ModelError>>(
        &self,
        part: usize,
        features: FeaturesOf<'_, E>,
    ) -> Result<RepresentationLoss, E> {
        let (model, options, weights) = (self.model, self.options, self.options.weights);
        let (rows, texts) = self.begin(part)?;
        let mut context = prepared(model, rows.clone(), features)?;
        let images = model.qformer.query_pass(&context, rows.len());
        let mut terms = Terms::default();
        let mut negatives = Negatives::default();
        if self.compares() {
            let own = Embeddings {
                images: model.image_embeddings(images.hidden.clone()),
                texts: model.text_embeddings(&texts)?,
            };
            let all = self.all.as_ref().unwrap_or(&own);
            let similarities = similarities(&own, all, model.temperature.val());
            if weights.itc != 0.0 {
                let smoothing = options.label_smoothing;
                let loss = match self.pictures {
                    None => itc_loss(&similarities, rows.start, smoothing),
                    Some(pictures) => itc_loss_among(&similarities, rows.start, pictures, smoothing),
                };
                terms.add("itc", weights.itc, loss);
            }
            if weights.itm != 0.0 {
                negatives = match (self.drawn.get(&part), &self.all) {
                    (Some(drawn), _) => drawn.clone(),
                    (None, None) => {
                        let rule = options.negatives;
                        self.draws
                            .negatives(&similarities, rows.clone(), rule, self.pictures)?
                    }
                    (None, Some(_)) => {
                        return Err(ModelError::Invalid(format!(
                            "part {part} is none of those that negatives were drawn for"
                        ))
                        .into());
                    }
                };
                let (placed, elsewhere) = placed(&negatives, &rows);
                if !elsewhere.images.is_empty() {
                    context = context.followed_by(&prepared(model, elsewhere.images, features)?);
                }
                let texts = self.texts(rows.clone().chain(elsewhere.texts))?;
                let logits = itm_logits(model, &context, &texts, &placed)?;
                terms.add("itm", weights.itm, itm_loss(logits));
            }
        }
        if weights.itg != 0.0 {
            let (start, smoothing) = (options.start_token, options.label_smoothing);
            let mean = itg_loss(model, &images, &texts, start, smoothing)?;
            terms.add("itg", weights.itg, mean * self.itg_share(&texts));
        }
        terms.watch("temperature", model.temperature.val());
        terms.watch("query_spread", images.hidden.detach().var_bias(1).sqrt().mean());
        Ok(RepresentationLoss { terms, negatives })
    }

    /// Whether pairs are compared at all.
    fn compares(&self) -> bool {
        self.options.weights.itc != 0.0 || self.options.weights.itm != 0.0
    }

    fn rows(&self, part: usize) -> Result<Range<usize>, ModelError> {
        let pairs = self.pairs / self.parts;
        match part < self.parts {
            true => Ok(part * pairs..(part + 1) * pairs),
            false => Err(ModelError::Invalid(format!(
                "there is no part {part}: the batch has {}",
                self.parts
            ))),
        }
    }

    /// The rows of `part` and their texts; the same dropout whenever it begins.
    fn begin(&self, part: usize) -> Result<(Range<usize>, TextBatch), ModelError> {
        let rows = self.rows(part)?;
        if self.parts > 1 {
            let apart = (part as u64).wrapping_mul(SEEDS_APART);
            self.model.qformer.device().seed(self.seed.wrapping_add(apart));
        }
        let texts = self.texts(rows.clone())?;
        Ok((rows, texts))
    }

    /// The texts of `rows` of the global batch, padded to the longest of them.
    fn texts(&self, rows: impl Iterator<Item = usize>) -> Result<TextBatch, ModelError> {
        let text = |row: usize| {
            let elsewhere = || ModelError::Invalid(format!("the text of row {row} lies on another device"));
            self.texts.get(&row).cloned().ok_or_else(elsewhere)
        };
        let rows = rows.map(text).collect::<Result<_, _>>()?;
        TextBatch::new(rows, &self.model.qformer.device())
    }

    /// What the mean over the tokens of `texts` is multiplied with, so that the mean over parts is the one that is asked for.
    fn itg_share(&self, texts: &TextBatch) -> f64 {
        let rows = texts.rows().iter();
        let predicted: usize = rows.map(|text| text.len().saturating_sub(1)).sum();
        match self.options.itg_mean {
            ItgMean::Part => 1.0,
            ItgMean::Global => (predicted * self.parts) as f64 / self.predicted as f64,
        }
    }
}

/// `model` without graph and gradients, but with the dropout of training.
fn untracked(model: &RepresentationModel) -> RepresentationModel {
    // What makes a parameter that was never read is shared with its clones, and so is that they are frozen.
    model.visit(&mut Read);
    model.clone().freeze()
}

/// On an autodiff device burn keeps what a pass without gradients computed until some backward pass is over: lets one be over.
fn sweep(device: &Device) {
    if device.is_autodiff() {
        Tensor::<1>::zeros([1], device).require_grad().backward();
    }
}

/// Reads every parameter.
struct Read;

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        parameter.val();
    }
}

/// The images of `rows` of the global batch as `model` reads them.
fn prepared<E: From<ModelError>>(
    model: &RepresentationModel,
    rows: impl IntoIterator<Item = usize>,
    features: FeaturesOf<'_, E>,
) -> Result<ImageContext, E> {
    let rows: Vec<usize> = rows.into_iter().collect();
    let features = features(&rows)?;
    let [images, _, _] = features.dims();
    if images != rows.len() {
        return Err(ModelError::Invalid(format!(
            "{images} images and {} texts are not a batch of pairs",
            rows.len()
        ))
        .into());
    }
    Ok(model.image_context(features)?)
}

/// Negatives of a part as places: its own rows come first, then what other parts hold.
fn placed(negatives: &Negatives, own: &Range<usize>) -> (Negatives, Negatives) {
    let split = |rows: &[usize]| -> (Vec<usize>, Vec<usize>) {
        let elsewhere: BTreeSet<usize> = rows.iter().copied().filter(|row| !own.contains(row)).collect();
        let elsewhere: Vec<usize> = elsewhere.into_iter().collect();
        let place = |row: &usize| match elsewhere.binary_search(row) {
            Ok(place) => own.len() + place,
            Err(_) => row - own.start,
        };
        (rows.iter().map(place).collect(), elsewhere)
    };
    let (images, other_images) = split(&negatives.images);
    let (texts, other_texts) = split(&negatives.texts);
    let elsewhere = Negatives {
        images: other_images,
        texts: other_texts,
    };
    (Negatives { images, texts }, elsewhere)
}
