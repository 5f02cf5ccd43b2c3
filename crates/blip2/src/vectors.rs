//! All vectors that a model makes of pictures and texts, by the names that files and other languages know them by.

use blip2_data::pixels::RgbImage;
use burn::tensor::{Tensor, TensorData};

use crate::{Blip2, Blip2Error, TextEmbeddings};

/// Vectors with their name.
type Named<T> = (&'static str, T);

impl Blip2 {
    /// What both stages make of `pictures`, as far as they were trained: of stage 1 `image_embeds` `[batch, queries, width]` and
    /// `image_embeds_proj` `[batch, queries, embedding]` of unit length; of stage 2 `vision` `[batch, patches, encoder width]`,
    /// `qformer` `[batch, queries, width]` and `projected` `[batch, queries, hidden]`. Those of `only` alone, where it names any.
    ///
    /// # Errors
    /// As for [`Blip2::embed_images`] and [`Blip2::image_prompts`]; [`Blip2Error::NoVectors`] where `only` names something else.
    pub fn vectors_of_pictures(
        &self,
        pictures: &[RgbImage],
        only: &[String],
    ) -> Result<Vec<Named<Tensor<3>>>, Blip2Error> {
        let mut vectors = Vec::new();
        // Where neither stage can, the first says what is missing.
        if self.has_representation() || !self.has_bridge() {
            let embedded = self.embed_images(pictures)?;
            vectors.push(("image_embeds", embedded.states));
            vectors.push(("image_embeds_proj", embedded.embeddings));
        }
        if self.has_bridge() {
            vectors.extend(self.named_prompts(pictures, &vec![String::new(); pictures.len()])?);
        }
        chosen(vectors, only)
    }

    /// What they make of `pictures` each with its text: of stage 1 `multimodal_embeds` `[batch, queries, width]`; of a stage 2 that
    /// reads instructions `vision`, `qformer` and `projected` as of pictures alone.
    ///
    /// # Errors
    /// As for [`Blip2::vectors_of_pictures`]; [`Blip2Error::Model`] where the numbers differ.
    pub fn vectors_of_pairs(
        &self,
        pictures: &[RgbImage],
        texts: &[String],
        only: &[String],
    ) -> Result<Vec<Named<Tensor<3>>>, Blip2Error> {
        let mut vectors = Vec::new();
        if self.has_representation() || !self.reads_instructions() {
            vectors.push(("multimodal_embeds", self.embed_multimodal(pictures, texts)?));
        }
        if self.reads_instructions() {
            vectors.extend(self.named_prompts(pictures, texts)?);
        }
        chosen(vectors, only)
    }

    /// What stage 1 makes of `texts`: `text_embeds` `[texts, tokens, width]`, `text_mask` `[texts, tokens]`, and `text_embeds_proj`
    /// `[texts, embedding]` of unit length.
    ///
    /// # Errors
    /// As for [`Blip2::embed_texts`]; [`Blip2Error::NoVectors`] where `only` names something else.
    pub fn vectors_of_texts(
        &self,
        texts: &[String],
        only: &[String],
    ) -> Result<Vec<Named<TensorData>>, Blip2Error> {
        let TextEmbeddings {
            states,
            mask,
            embeddings,
        } = self.embed_texts(texts)?;
        let vectors = vec![
            ("text_embeds", states.into_data()),
            ("text_mask", mask.into_data()),
            ("text_embeds_proj", embeddings.into_data()),
        ];
        chosen(vectors, only)
    }

    fn named_prompts(
        &self,
        pictures: &[RgbImage],
        texts: &[String],
    ) -> Result<[Named<Tensor<3>>; 3], Blip2Error> {
        let prompts = self.image_prompts(pictures, texts)?;
        Ok([
            ("vision", prompts.vision),
            ("qformer", prompts.qformer),
            ("projected", prompts.projected),
        ])
    }
}

/// The vectors of all `batches`, row by row.
pub fn join_vectors(batches: Vec<Vec<Named<Tensor<3>>>>) -> Vec<Named<TensorData>> {
    let mut joined: Vec<Named<Vec<Tensor<3>>>> = Vec::new();
    for batch in batches {
        joined.resize_with(batch.len(), Default::default);
        for ((name, rows), (this, tensor)) in joined.iter_mut().zip(batch) {
            *name = this;
            rows.push(tensor);
        }
    }
    let whole = |(name, rows): Named<_>| (name, Tensor::cat(rows, 0).into_data());
    joined.into_iter().map(whole).collect()
}

/// Those of `vectors` that `only` names, or all.
fn chosen<T>(mut vectors: Vec<Named<T>>, only: &[String]) -> Result<Vec<Named<T>>, Blip2Error> {
    let names: Vec<&str> = vectors.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Blip2Error::NoVectors {
            unknown: unknown.clone(),
            known: names.join(", "),
        });
    }
    vectors.retain(|(name, _)| only.is_empty() || only.iter().any(|only| only == name));
    Ok(vectors)
}
