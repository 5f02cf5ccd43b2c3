//! One pass of the Q-Former over images and texts, as in matching, without gradients.

use anyhow::Result;
use blip2_core::Initializer;
use blip2_qformer::{QFormer, QFormerConfig, TextBatch};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use serde::Deserialize;

use crate::captions::token_ids;
use crate::workload::Workload;

/// Sizes of the batch; the Q-Former is BERT-base with 32 queries.
#[derive(Deserialize)]
pub(crate) struct Pass {
    batch: usize,
    image_tokens: usize,
    image_width: usize,
    text_tokens: usize,
}

impl Pass {
    pub(crate) fn open(self, device: &Device) -> Result<Workload> {
        let config = QFormerConfig {
            encoder_hidden_size: self.image_width,
            ..QFormerConfig::default()
        };
        let qformer = QFormer::new(&mut Initializer::new(1, device), &config, true)?.freeze();
        let shape = [self.batch, self.image_tokens, self.image_width];
        let features = Tensor::<3>::random(shape, Distribution::Normal(0.0, 1.0), device);
        let texts = TextBatch::new(token_ids(self.batch, Some(self.text_tokens))?, device)?;
        let run = move || {
            let context = qformer.image_context(features.clone())?;
            std::hint::black_box(qformer.multimodal_pass(&context, &texts)?);
            Ok(())
        };
        Ok(Workload {
            phases: Vec::new(),
            run: Box::new(run),
        })
    }
}
