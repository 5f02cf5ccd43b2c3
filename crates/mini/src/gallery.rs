//! Retrieval on held-out scenes, in a gallery that holds for each true caption its distractors.

use std::collections::HashSet;

use blip2_data::Stream;
use blip2_evaluation::retrieval::{Recall, chance, recall, rerank, with_reranked};
use blip2_qformer::{RepresentationModel, TextBatch, best_query};
use blip2_report::RetrievalRow;
use blip2_trainer::{encode, tokenise};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::baseline::MeanBaseline;
use crate::held_out::HeldOut;
use crate::pretrain::Frozen;
use crate::scenes::{Change, EmojiNames, Split};
use crate::{MiniError, MiniRecipe};

/// Rows that a model takes at once.
const BATCH: usize = 64;

/// Held-out pictures and the texts that they are searched among.
pub(crate) struct Gallery {
    pub(crate) shown: HeldOut,
    /// The true captions in the order of the pictures, then all distractors.
    texts: Vec<Vec<u32>>,
    /// For each picture, the text that tells its relation the wrong way round, where there is one.
    turned: Vec<Option<usize>>,
    device: Device,
}

impl Gallery {
    /// Scenes of a held-out part.
    pub(crate) fn of_scenes(recipe: &MiniRecipe, split: Split, frozen: &Frozen) -> Result<Self, MiniError> {
        let shown = HeldOut::distinct(recipe, split, recipe.evaluation.gallery, frozen)?;
        let scenes = &shown.scenes;

        // A distractor that is true of another picture of the gallery would be a second right answer.
        let mut known: HashSet<&str> = scenes.iter().map(|scene| scene.caption.as_str()).collect();
        let mut texts: Vec<&str> = scenes.iter().map(|scene| scene.caption.as_str()).collect();
        let mut turned = vec![None; scenes.len()];
        for (index, scene) in scenes.iter().enumerate() {
            for distractor in &scene.distractors {
                if !known.insert(&distractor.caption) {
                    continue;
                }
                if distractor.change == Change::Relation && turned[index].is_none() {
                    turned[index] = Some(texts.len());
                }
                texts.push(&distractor.caption);
            }
        }
        let texts = tokenise(&frozen.tokenizer, texts.into_iter(), recipe.max_text_tokens)?;
        Ok(Self {
            shown,
            texts,
            turned,
            device: frozen.device.clone(),
        })
    }

    /// Single emoji of all names in the held-out style: the long tail, most of which no training scene shows.
    pub(crate) fn of_names(
        recipe: &MiniRecipe,
        frozen: &Frozen,
        names: &EmojiNames,
    ) -> Result<Self, MiniError> {
        let mut shown = names.held_out();
        Stream::new(recipe.data.seed, "long tail", 0).shuffle(&mut shown);
        let mut known = HashSet::new();
        shown.retain(|emoji| known.insert(emoji.text.as_str()));
        shown.truncate(recipe.evaluation.gallery);
        let side = frozen.encoder.processor.width;
        let pictures = shown
            .par_iter()
            .map(|emoji| names.render(emoji, recipe.data.seed, side))
            .collect::<Result<Vec<_>, _>>()?;
        let features = encode(&frozen.encoder, &pictures, &frozen.device)?;
        let texts = shown.iter().map(|emoji| emoji.text.as_str());
        Ok(Self {
            texts: tokenise(&frozen.tokenizer, texts, recipe.max_text_tokens)?,
            turned: vec![None; pictures.len()],
            shown: HeldOut {
                name: "single emoji, all names".to_owned(),
                scenes: Vec::new(),
                pictures,
                features,
            },
            device: frozen.device.clone(),
        })
    }

    /// What guessing would reach.
    pub(crate) fn chance(&self) -> Result<RetrievalRow, MiniError> {
        let own = self.own();
        let (images, texts) = (self.shown.pictures.len(), self.texts.len());
        Ok(RetrievalRow {
            split: self.shown.name.clone(),
            model: "chance".to_owned(),
            image_to_text: shares(chance(texts, &own)?),
            text_to_image: shares(chance(images, &own)?),
            relations: self.turned_pairs().next().map(|_| 0.5),
            images,
            texts,
        })
    }

    /// The baseline's ranking.
    pub(crate) fn rank_baseline(&self, model: &MeanBaseline) -> Result<RetrievalRow, MiniError> {
        let texts = self.embed_texts(|text| Ok(model.text_embeddings(text)?))?;
        let images = model.image_embeddings(self.shown.features.clone());
        self.ranking("mean feature, linear", &similarity(images, texts))
    }

    /// The Q-Former's ranking by contrast, and, for `candidates` above 0, the same after matching has re-ranked the best of
    /// each row.
    pub(crate) fn rank(
        &self,
        model: &RepresentationModel,
        candidates: usize,
    ) -> Result<Vec<RetrievalRow>, MiniError> {
        let texts = self.embed_texts(|text| Ok(model.text_embeddings(text)?))?;
        let mut images = Vec::new();
        for rows in self.batches(self.shown.pictures.len()) {
            let features = self.shown.features.clone().narrow(0, rows.start, rows.len());
            let context = model.image_context(features)?;
            images.push(model.image_embeddings(model.qformer.query_pass(&context, rows.len()).hidden));
        }
        let first = similarity(Tensor::cat(images, 0), texts);
        let mut rows = vec![self.ranking(RetrievalRow::BY_CONTRAST, &first)?];
        if candidates > 0 {
            rows.push(self.rerank(model, candidates, &first)?);
        }
        Ok(rows)
    }

    /// The ranking `first` (`[pictures][texts]`) after matching has re-ranked the best `candidates` of each row.
    fn rerank(
        &self,
        model: &RepresentationModel,
        candidates: usize,
        first: &[Vec<f32>],
    ) -> Result<RetrievalRow, MiniError> {
        let by_image = rerank(first, candidates);
        let by_text = rerank(&self.of_true_texts(first), candidates);
        let image_pairs: Vec<_> = pairs(&by_image).collect();
        let text_pairs: Vec<_> = pairs(&by_text).map(|(text, image)| (image, text)).collect();
        let turned_pairs: Vec<_> = self
            .turned_pairs()
            .flat_map(|(image, text)| [(image, image), (image, text)])
            .collect();
        let image_scores = self.matching(model, &image_pairs, first)?;
        let text_scores = self.matching(model, &text_pairs, first)?;
        let turned_scores = self.matching(model, &turned_pairs, first)?;

        let image_to_text = with_reranked(first, &by_image, &grouped(image_scores, &by_image))?;
        let text_to_image = with_reranked(
            &self.of_true_texts(first),
            &by_text,
            &grouped(text_scores, &by_text),
        )?;
        let preferences: Vec<_> = turned_scores.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        self.row(
            RetrievalRow::RERANKED,
            &image_to_text,
            &text_to_image,
            &preferences,
        )
    }

    /// LAVIS's retrieval score of each (picture, text): the positive matching logit and the cosine.
    fn matching(
        &self,
        model: &RepresentationModel,
        pairs: &[(usize, usize)],
        cosine: &[Vec<f32>],
    ) -> Result<Vec<f32>, MiniError> {
        let mut scores = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunks(BATCH) {
            let rows: Vec<i64> = chunk.iter().map(|(image, _)| *image as i64).collect();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [chunk.len()]), &self.device);
            let context = model.image_context(self.shown.features.clone().select(0, rows))?;
            let texts = chunk.iter().map(|(_, text)| self.texts[*text].clone()).collect();
            let logits = model.matching_logits(&context, &TextBatch::new(texts, &self.device)?)?;
            let matches = host(logits.narrow(1, 1, 1));
            scores.extend(
                matches
                    .into_iter()
                    .zip(chunk)
                    .map(|(logit, (image, text))| logit + cosine[*image][*text]),
            );
        }
        Ok(scores)
    }

    /// The row of a model that scores `[pictures][texts]`.
    fn ranking(&self, model: &str, scores: &[Vec<f32>]) -> Result<RetrievalRow, MiniError> {
        let preferences: Vec<_> = self
            .turned_pairs()
            .map(|(image, text)| (scores[image][image], scores[image][text]))
            .collect();
        self.row(model, scores, &self.of_true_texts(scores), &preferences)
    }

    /// `preferences` are the scores of a true caption and of the one with a relation turned.
    fn row(
        &self,
        model: &str,
        image_to_text: &[Vec<f32>],
        text_to_image: &[Vec<f32>],
        preferences: &[(f32, f32)],
    ) -> Result<RetrievalRow, MiniError> {
        let own = self.own();
        let right = preferences
            .iter()
            .filter(|(truth, turned)| truth > turned)
            .count();
        Ok(RetrievalRow {
            model: model.to_owned(),
            image_to_text: shares(recall(image_to_text, &own)?),
            text_to_image: shares(recall(text_to_image, &own)?),
            relations: (!preferences.is_empty()).then(|| right as f64 / preferences.len() as f64),
            ..self.chance()?
        })
    }

    /// The right text of each picture, and the right picture of each true text.
    fn own(&self) -> Vec<Vec<usize>> {
        (0..self.shown.pictures.len()).map(|index| vec![index]).collect()
    }

    /// (picture, its text with the relation turned round).
    fn turned_pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.turned
            .iter()
            .enumerate()
            .filter_map(|(image, text)| text.map(|text| (image, text)))
    }

    /// From scores `[pictures][texts]` to `[true texts][pictures]`.
    fn of_true_texts(&self, scores: &[Vec<f32>]) -> Vec<Vec<f32>> {
        (0..self.shown.pictures.len())
            .map(|text| scores.iter().map(|row| row[text]).collect())
            .collect()
    }

    fn embed_texts(
        &self,
        embed: impl Fn(&TextBatch) -> Result<Tensor<2>, MiniError>,
    ) -> Result<Tensor<2>, MiniError> {
        let rows = self
            .batches(self.texts.len())
            .map(|rows| embed(&TextBatch::new(self.texts[rows].to_vec(), &self.device)?))
            .collect::<Result<Vec<_>, MiniError>>()?;
        Ok(Tensor::cat(rows, 0))
    }

    fn batches(&self, rows: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        (0..rows)
            .step_by(BATCH)
            .map(move |start| start..(start + BATCH).min(rows))
    }
}

fn shares(recall: Recall) -> [f64; 3] {
    [recall.r1, recall.r5, recall.r10]
}

/// Cosine of the best query, `[pictures][texts]`, of unit-length embeddings.
fn similarity(images: Tensor<3>, texts: Tensor<2>) -> Vec<Vec<f32>> {
    let [others, _] = texts.dims();
    host(best_query(images, texts))
        .chunks(others)
        .map(<[f32]>::to_vec)
        .collect()
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().iter::<f32>().collect()
}

fn pairs(candidates: &[Vec<usize>]) -> impl Iterator<Item = (usize, usize)> + '_ {
    candidates
        .iter()
        .enumerate()
        .flat_map(|(row, list)| list.iter().map(move |item| (row, *item)))
}

/// A flat list cut into rows as long as those of `shape`.
fn grouped(scores: Vec<f32>, shape: &[Vec<usize>]) -> Vec<Vec<f32>> {
    let mut scores = scores.into_iter();
    shape
        .iter()
        .map(|row| scores.by_ref().take(row.len()).collect())
        .collect()
}
