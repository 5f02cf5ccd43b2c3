//! Retrieval on held-out pairs while stage 1 trains, by the protocol with which a trained model is evaluated.

use std::collections::HashMap;

use blip2_data::text::BertTokenizer;
use blip2_evaluation::retrieval::{Captions, Reranking};
use blip2_qformer::{RepresentationModel, best_query};
use burn::tensor::Tensor;

use crate::{Evaluator, HeldOut, Row, Sighted, TrainError, tokenise};

/// Pictures that are looked at together.
const IMAGES_AT_ONCE: usize = 16;

/// LAVIS's recalls both ways among held-out pairs: contrast of all, matching of the best.
pub struct HeldOutRetrieval<'a> {
    /// The gallery. Rows of one image id, or of one index where they have none, share their picture, of which the first is looked
    /// at.
    pub samples: HeldOut<'a>,
    /// The Q-Former's.
    pub tokenizer: &'a BertTokenizer,
    /// Longest text in tokens, special ones included; 35 in LAVIS.
    pub max_text_tokens: usize,
    /// Candidates that are re-ranked both ways; 0 ranks by contrast alone.
    pub candidates: usize,
}

impl HeldOutRetrieval<'_> {
    /// Features `[rows, tokens, width]` of `rows`, by the encoder as it is in training.
    fn seen(&self, module: &impl Sighted, rows: &[Row]) -> Result<Tensor<3>, TrainError> {
        let batch = self.samples.batch(rows)?;
        module.features(&batch, &batch.all())
    }
}

impl<M: Sighted<Model = RepresentationModel>> Evaluator<M> for HeldOutRetrieval<'_> {
    fn name(&self) -> &str {
        &self.samples.name
    }

    fn every(&self) -> u64 {
        self.samples.every
    }

    fn evaluate(&mut self, model: &M, _step: u64) -> Result<Vec<(String, f64)>, TrainError> {
        self.samples.check()?;
        let module = model.valid();
        let model = module.model();
        let (mut pictures, mut places, mut image_of) = (Vec::new(), HashMap::new(), Vec::new());
        for row in &self.samples.rows {
            let next = pictures.len();
            let known = match &row.image_id {
                Some(id) => (Some(id), 0),
                None => (None, row.index),
            };
            let image = *places.entry(known).or_insert(next);
            if image == next {
                pictures.push(row.clone());
            }
            image_of.push(image);
        }
        let captions = Captions::new(pictures.len(), image_of).map_err(TrainError::other)?;
        let texts = self.samples.rows.iter().map(|row| row.text.as_str());
        let texts = tokenise(self.tokenizer, texts, self.max_text_tokens)?;
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();

        let mut images = Vec::new();
        for rows in pictures.chunks(IMAGES_AT_ONCE) {
            let features = self.seen(&module, rows)?;
            images.push(model.embed_images(&model.image_context(features)?));
        }
        let similarities = best_query(Tensor::cat(images, 0), model.embed_texts(&texts)?).into_data();
        let similarities: Vec<f32> = similarities.iter().collect();
        let similarities = similarities.chunks(texts.len()).map(<[f32]>::to_vec).collect();
        let reranking = Reranking::new(similarities, self.candidates).map_err(TrainError::other)?;

        let (mut matching, mut pairs) = (Vec::new(), reranking.pairs().iter());
        for rows in pictures.chunks(IMAGES_AT_ONCE) {
            if self.candidates == 0 {
                matching.extend(rows.iter().map(|_| Vec::new()));
                continue;
            }
            let context = model.image_context(self.seen(&module, rows)?)?;
            for (image, pairs) in (0..rows.len()).zip(&mut pairs) {
                let texts: Vec<&[u32]> = pairs.iter().map(|text| texts[*text]).collect();
                matching.push(model.match_image(&context.select(&[image]), &texts)?);
            }
        }
        let [to_text, to_image] = reranking.scores(&matching).map_err(TrainError::other)?;
        let figures = captions
            .both_ways(&to_text, &to_image)
            .map_err(TrainError::other)?;
        Ok(figures
            .named()
            .map(|(name, figure)| (name.to_owned(), figure))
            .to_vec())
    }
}
