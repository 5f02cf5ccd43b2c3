//! Writing token by token equals one causal pass, also when beams change places.

use blip2_core::{ModelError, NextTokenModel};
use blip2_qformer::{CaptionDecoder, QueryOutput, RepresentationModel, TextBatch};
use burn::tensor::{Device, Tensor};

use crate::support::{assert_close, model, row};
use crate::tiny;

const START: u32 = 89;

fn images(model: &RepresentationModel, batch: usize) -> QueryOutput {
    let context = model
        .image_context(tiny::features(batch, &Device::flex()))
        .expect("features");
    model.qformer.query_pass(&context, batch)
}

/// Logits after each token of `ids` behind image `index`, in one pass.
fn logits_at_once(model: &RepresentationModel, images: &QueryOutput, index: usize, ids: &[u32]) -> Tensor<2> {
    let count = images.hidden.dims()[0];
    let text = TextBatch::new(vec![ids.to_vec(); count], &Device::flex()).expect("text");
    let states = model.qformer.causal_pass(images, &text).expect("causal pass");
    model.language_head.logits(row(&states, index), model.decoder())
}

fn last(logits: Tensor<2>) -> Tensor<2> {
    let [rows, _] = logits.dims();
    logits.narrow(0, rows - 1, 1)
}

#[test]
fn token_by_token_equals_at_once() {
    let model = model();
    let images = images(&model, 2);
    let steps = [[START, START], [7, 8], [33, 8], [2, 71], [60, 5]];
    let mut decoder = CaptionDecoder::start(&model, &images, START).expect("start");
    let expected = [0, 1].map(|index| logits_at_once(&model, &images, index, &steps.map(|step| step[index])));
    for (position, step) in steps.iter().enumerate() {
        if position > 0 {
            decoder.advance(&[0, 1], step).expect("advance");
        }
        for (index, expected) in expected.iter().enumerate() {
            let found = decoder.logits().narrow(0, index, 1);
            assert_close("logits", found, expected.clone().narrow(0, position, 1));
        }
    }
}

#[test]
fn beams_take_their_history_along() {
    let model = model();
    let images = images(&model, 2);
    let mut decoder = CaptionDecoder::start(&model, &images, START).expect("start");
    decoder.advance(&[0, 1], &[10, 11]).expect("advance");
    // Both beams of the second image, then the first image, which comes back from the middle.
    decoder.advance(&[1, 0, 1], &[20, 21, 22]).expect("advance");
    decoder.advance(&[1, 2], &[30, 31]).expect("advance");
    let expected = [(0, [START, 10, 21, 30]), (1, [START, 11, 22, 31])];
    for (place, (image, ids)) in expected.into_iter().enumerate() {
        let found = decoder.logits().narrow(0, place, 1);
        assert_close(
            "logits",
            found,
            last(logits_at_once(&model, &images, image, &ids)),
        );
    }
}

#[test]
fn what_cannot_be_continued_is_refused() {
    let model = model();
    let images = images(&model, 2);
    let vocabulary = model.qformer.config().vocab_size;
    assert!(matches!(
        CaptionDecoder::start(&model, &images, vocabulary as u32).err(),
        Some(ModelError::Vocabulary { vocabulary: limit, .. }) if limit == vocabulary
    ));
    let mut decoder = CaptionDecoder::start(&model, &images, START).expect("start");
    for (parents, tokens) in [(&[0, 2][..], &[1, 1][..]), (&[0], &[1, 1]), (&[], &[])] {
        assert!(
            matches!(decoder.advance(parents, tokens), Err(ModelError::Invalid(_))),
            "{parents:?}"
        );
    }
    let refused = decoder.advance(&[1, 0], &[1, vocabulary as u32]);
    assert!(matches!(refused, Err(ModelError::Vocabulary { .. })));
    decoder
        .advance(&[0, 1], &[3, 4])
        .expect("a refusal changes nothing");
    for (index, token) in [3, 4].into_iter().enumerate() {
        let expected = last(logits_at_once(&model, &images, index, &[START, token]));
        assert_close("logits", decoder.logits().narrow(0, index, 1), expected);
    }
    let positions = model.qformer.config().max_position_embeddings;
    for _ in 2..positions {
        decoder.advance(&[0, 1], &[3, 4]).expect("a position is left");
    }
    let error = decoder.advance(&[0, 1], &[3, 4]).unwrap_err();
    assert!(
        matches!(error, ModelError::Context { limit, .. } if limit == positions),
        "{error}"
    );
}
