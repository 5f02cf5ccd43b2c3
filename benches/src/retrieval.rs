//! Retrieval in two stages on given features: contrast of all, matching of the best both ways.

use anyhow::{Result, ensure};
use blip2_core::Initializer;
use blip2_evaluation::retrieval::Reranking;
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel, best_query};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use serde::Deserialize;

use crate::captions::token_ids;
use crate::workload::Workload;

/// Sizes of the gallery; the Q-Former is BERT-base with 32 queries.
#[derive(Deserialize)]
pub(crate) struct Retrieval {
    images: usize,
    texts: usize,
    /// Candidates of each image and of each text.
    k: usize,
    image_tokens: usize,
    image_width: usize,
}

impl Retrieval {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let config = RepresentationConfig {
            qformer: QFormerConfig {
                encoder_hidden_size: self.image_width,
                ..QFormerConfig::default()
            },
            ..RepresentationConfig::default()
        };
        let model = RepresentationModel::new(&mut Initializer::new(1, device), &config)?.freeze();
        let shape = [self.images, self.image_tokens, self.image_width];
        let features = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), device);
        let texts = token_ids(self.texts, None)?;
        let run = move || {
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            let context = model.image_context(features.clone())?;
            let similarities = best_query(model.embed_images(&context), model.embed_texts(&texts)?);
            let similarities: Vec<f32> = similarities.into_data().iter().collect();
            let rows = similarities.chunks(texts.len()).map(<[f32]>::to_vec);
            let reranking = Reranking::new(rows.collect(), self.k)?;
            let mut matching = Vec::with_capacity(self.images);
            for (image, pairs) in reranking.pairs().iter().enumerate() {
                let pairs: Vec<&[u32]> = pairs.iter().map(|text| texts[*text]).collect();
                matching.push(model.match_image(&context.select(&[image]), &pairs)?);
            }
            let [_, to_image] = reranking.scores(&matching)?;
            ensure!(to_image.len() == texts.len(), "scores of another gallery");
            Ok(())
        };
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(run),
        })
    }
}
