//! Retrieval's passes over many texts give what each text gives alone.

use blip2_golden::device;
use blip2_qformer::{TextBatch, best_query};
use burn::tensor::Tensor;

use crate::tiny;

#[test]
fn texts_are_embedded_and_matched_in_their_own_order() {
    let device = device();
    let model = tiny::model(&tiny::config(), &device);
    // More than one batch, of lengths that come in no order.
    let texts = tiny::rows(70);
    let all: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let context = model.image_context(tiny::features(2, &device)).unwrap();
    let embedded = model.embed_texts(&all).unwrap();
    let image = context.select(&[1]);
    let matches = model.match_image(&image, &all).unwrap();
    assert_eq!(matches.len(), texts.len());
    for (place, text) in texts.iter().enumerate() {
        let alone = TextBatch::new(vec![text.clone()], &device).unwrap();
        let own = embedded.clone().narrow(0, place, 1);
        let apart = (own - model.text_embeddings(&alone).unwrap())
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(apart < 1e-5, "text {place} is {apart} apart");
        let logits = model.matching_logits(&image, &alone).unwrap().into_data();
        let logit = logits.iter::<f32>().nth(1).unwrap();
        assert!(
            (matches[place] - logit).abs() < 1e-4,
            "{} and {logit}",
            matches[place]
        );
    }
    assert!(model.embed_texts(&[]).is_err());
    assert!(model.match_image(&image, &[]).unwrap().is_empty());
}

#[test]
fn the_best_query_decides() {
    let device = device();
    let images = Tensor::<3>::from_data([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [0.0, 0.0]]], &device);
    let texts = Tensor::<2>::from_data([[1.0, 0.0], [0.0, -1.0], [0.8, 0.6]], &device);
    let found: Vec<f32> = best_query(images, texts).into_data().iter().collect();
    let expected = [1.0, 0.0, 0.8, 0.6, 0.0, 0.96];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
    }
}
