//! Where the queries look, and what that is worth to a match.

use blip2_core::Initializer;
use blip2_qformer::RepresentationModel;
use burn::tensor::{Device, Tensor};

use crate::support::{assert_close, difference, model};
use crate::tiny;

#[test]
fn each_query_spends_all_of_its_attention_on_the_image() {
    let (model, features) = (model(), tiny::features(2, &Device::flex()));
    let context = model.image_context(features.clone()).expect("features");
    let texts = tiny::texts(2, &Device::flex());
    for text in [None, Some(&texts)] {
        let looks = model.qformer.looks(&context, text).expect("looks");
        let layers: Vec<usize> = looks.iter().map(|look| look.layer).collect();
        assert_eq!(layers, [0, 2]);
        let (queries, patches) = (model.qformer.config().num_query_tokens, features.dims()[1]);
        for look in looks {
            let mean = look.mean();
            assert_eq!(mean.dims(), [2, queries, patches]);
            assert!(mean.clone().min().into_scalar::<f32>() >= 0.0);
            let whole = Tensor::ones([2, queries, 1], &Device::flex());
            assert_close("sums", mean.sum_dim(2), whole);
        }
    }
}

#[test]
fn watching_a_pass_does_not_change_it_and_a_text_changes_the_looks() {
    let (model, device) = (model(), Device::flex());
    let context = model.image_context(tiny::features(3, &device)).expect("features");
    let texts = tiny::texts(3, &device);
    let looks = model.match_looks(&context, &texts, 2).expect("looks");
    let logits = model.matching_logits(&context, &texts).expect("logits");
    assert_close("logits", looks.logits, logits);
    let [alone, beside] =
        [None, Some(&texts)].map(|text| model.qformer.looks(&context, text).expect("looks")[1].mean());
    assert!(difference(alone, beside) > 1e-3, "the text does not count");
}

#[test]
fn a_model_in_training_drops_nothing_of_its_looks() {
    let mut config = tiny::config();
    (
        config.qformer.hidden_dropout_prob,
        config.qformer.attention_probs_dropout_prob,
    ) = (0.5, 0.5);
    let device = Device::flex();
    let looks = [device.clone(), device.clone().autodiff()].map(|on| {
        let model = RepresentationModel::new(&mut Initializer::new(1, &on), &config).expect("sizes");
        let context = model.image_context(tiny::features(2, &on)).expect("features");
        let looks = model
            .match_looks(&context, &tiny::texts(2, &on), 0)
            .expect("looks");
        looks.tokens().inner()
    });
    let [plain, tracked] = looks;
    assert!(plain.clone().max().into_scalar::<f32>() > 0.0);
    assert_close("maps", plain, tracked);
}

#[test]
fn a_layer_that_does_not_read_the_image_is_refused() {
    let (model, device) = (model(), Device::flex());
    let context = model.image_context(tiny::features(1, &device)).expect("features");
    let error = model
        .match_looks(&context, &tiny::texts(1, &device), 1)
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("layer 1") && message.contains("[0, 2]"),
        "{message}"
    );
    assert_eq!(model.telling_layer(), 2);
}
