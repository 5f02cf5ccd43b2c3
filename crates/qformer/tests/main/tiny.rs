//! A stage-1 model small enough for any test, decided by a seed. Tests of other crates include this file too.

use blip2_core::Initializer;
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch};
use burn::tensor::{Device, Tensor};

/// Four layers, of which two read the image.
pub(crate) fn config() -> RepresentationConfig {
    let qformer = QFormerConfig {
        vocab_size: 90,
        hidden_size: 32,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        intermediate_size: 48,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        max_position_embeddings: 12,
        encoder_hidden_size: 20,
        num_query_tokens: 5,
        ..QFormerConfig::default()
    };
    RepresentationConfig {
        qformer,
        embedding_size: 24,
        ..RepresentationConfig::default()
    }
}

pub(crate) fn model(config: &RepresentationConfig, device: &Device) -> RepresentationModel {
    RepresentationModel::new(&mut Initializer::new(1, device), config).expect("a sound configuration")
}

/// Features of `batch` images of seven patches each.
pub(crate) fn features(batch: usize, device: &Device) -> Tensor<3> {
    let width = config().qformer.encoder_hidden_size;
    let drawn = Initializer::new(2, &Device::flex()).normal([batch, 7, width], 1.0);
    Tensor::from_data(drawn.val().into_data(), device)
}

/// Texts of different lengths, with the same first token as if it were `[CLS]`.
pub(crate) fn rows(batch: usize) -> Vec<Vec<u32>> {
    let row = |index: u32| {
        std::iter::once(1)
            .chain((0..2 + index * 3 % 7).map(|position| 2 + (index * 17 + position * 5) % 80))
            .collect()
    };
    (0..batch as u32).map(row).collect()
}

pub(crate) fn texts(batch: usize, device: &Device) -> TextBatch {
    TextBatch::new(rows(batch), device).expect("texts")
}
