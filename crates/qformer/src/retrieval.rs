//! Retrieval in two stages (paper section 4.4, LAVIS `compute_sim_matrix`): contrast of all images with all texts, then
//! matching of those that are alike.

use blip2_core::ModelError;
use burn::tensor::Tensor;

use crate::{ImageContext, RepresentationModel, TextBatch};

/// Texts that are embedded in one pass.
const TEXTS_AT_ONCE: usize = 64;
/// Texts that an image is matched with in one pass.
const PAIRS_AT_ONCE: usize = 32;

/// Similarity `[images, texts]` of the best query of each of `images` `[images, queries, embedding]` with each of `texts`
/// `[texts, embedding]`.
pub fn best_query(images: Tensor<3>, texts: Tensor<2>) -> Tensor<2> {
    let [count, queries, width] = images.dims();
    let [others, _] = texts.dims();
    let similarity = images.reshape([count * queries, width]).matmul(texts.transpose());
    similarity
        .reshape([count, queries, others])
        .max_dim(1)
        .reshape([count, others])
}

impl RepresentationModel {
    /// Unit-length contrastive embeddings `[images, queries, embedding]` of the images of `context`.
    pub fn embed_images(&self, context: &ImageContext) -> Tensor<3> {
        let queries = self.qformer.query_pass(context, context.images());
        self.image_embeddings(queries.hidden)
    }

    /// Unit-length contrastive embeddings `[texts, embedding]` of token ids, `[CLS]` first. What is read together is of about one
    /// length, whatever the order.
    ///
    /// # Errors
    /// [`ModelError`] where a text does not fit the model, or there is none.
    pub fn embed_texts(&self, texts: &[&[u32]]) -> Result<Tensor<2>, ModelError> {
        let order = by_length(texts);
        let mut embeddings = Vec::new();
        for chunk in order.chunks(TEXTS_AT_ONCE) {
            embeddings.push(self.text_embeddings(&self.batch(texts, chunk)?)?);
        }
        if embeddings.is_empty() {
            return Err(ModelError::Invalid("there is no text to embed".to_owned()));
        }
        // Back in the order in which they came.
        let mut places = vec![0; order.len()];
        (0_i64..)
            .zip(&order)
            .for_each(|(place, text)| places[*text] = place);
        let device = self.qformer.device();
        let places = Tensor::from_data(places.as_slice(), &device);
        Ok(Tensor::cat(embeddings, 0).select(0, places))
    }

    /// How well the one image of `context` matches each of `texts`: the logit of a match. Its keys and values are those of
    /// `context` for all of them.
    ///
    /// # Errors
    /// As for [`RepresentationModel::embed_texts`]; [`ModelError::NotFinite`] where a logit is no number.
    pub fn match_image(&self, context: &ImageContext, texts: &[&[u32]]) -> Result<Vec<f32>, ModelError> {
        let mut matches = vec![0.0; texts.len()];
        for chunk in by_length(texts).chunks(PAIRS_AT_ONCE) {
            let context = context.select(&vec![0; chunk.len()]);
            let logits = self.matching_logits(&context, &self.batch(texts, chunk)?)?;
            let logits = logits.narrow(1, 1, 1).into_data();
            for (text, logit) in chunk.iter().zip(logits.iter::<f32>()) {
                if !logit.is_finite() {
                    return Err(ModelError::NotFinite {
                        what: "matching logits",
                    });
                }
                matches[*text] = logit;
            }
        }
        Ok(matches)
    }

    fn batch(&self, texts: &[&[u32]], chosen: &[usize]) -> Result<TextBatch, ModelError> {
        let rows = chosen.iter().map(|text| texts[*text].to_vec());
        TextBatch::new(rows.collect(), &self.qformer.device())
    }
}

/// The places of `texts`, shorter ones first: a batch is padded to its longest.
fn by_length(texts: &[&[u32]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|text| texts[*text].len());
    order
}
