//! Where short runs begin.

use blip2_core::Initializer;
use blip2_qformer::RepresentationModel;
use burn::tensor::{Device, Tensor};

use crate::tiny;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn features_and_embeddings_begin_without_a_mean() {
    let device = Device::flex();
    let model = tiny::model(&tiny::config(), &device);
    let (features, texts) = (tiny::features(6, &device) + 3.0, tiny::texts(6, &device));
    let before = model.normalise(features.clone()).unwrap();
    let model = model.with_centred_start(features.clone(), &texts).unwrap();
    let after = model.normalise(features.clone()).unwrap();
    let has_no_mean = |tensor: Tensor<3>| {
        let mean = values(tensor.mean_dim(0).mean_dim(1));
        assert!(mean.iter().all(|mean| mean.abs() < 1e-5), "{mean:?}");
    };
    has_no_mean(after.clone());
    // What tells features apart stays as it was.
    let shift = values(before - after);
    let width = tiny::config().qformer.encoder_hidden_size;
    for row in shift.chunks(width) {
        assert!(
            row.iter()
                .zip(&shift)
                .all(|(one, other)| (one - other).abs() < 1e-5)
        );
    }
    let states = model
        .qformer
        .query_pass(&model.image_context(features).unwrap(), 6)
        .hidden;
    has_no_mean(model.vision_projection.forward(states));
    has_no_mean(
        model
            .text_projection
            .forward(model.qformer.text_pass(&texts, Some(1)).unwrap()),
    );
}

#[test]
fn the_language_head_begins_with_what_is_frequent() {
    let device = Device::flex();
    let model = tiny::model(&tiny::config(), &device);
    let model = model.with_word_frequencies([7, 7, 7, 9]).unwrap();
    let bias = values(model.language_head.bias.val());
    let probability: f32 = bias.iter().map(|bias| bias.exp()).sum();
    assert!((probability - 1.0).abs() < 1e-4, "{probability}");
    assert!((bias[7] - bias[9] - (3.01f32 / 1.01).ln()).abs() < 1e-4);
    assert!(bias[9] > bias[0] && bias[0].is_finite());
    let vocabulary = tiny::config().qformer.vocab_size as u32;
    let error = model.with_word_frequencies([vocabulary]).unwrap_err().to_string();
    assert!(error.contains("90"), "{error}");
}

#[test]
fn the_range_of_cross_attention_is_its_own() {
    let deviation = |weight: Vec<f32>| {
        let squares: f32 = weight.iter().map(|weight| weight * weight).sum();
        (squares / weight.len() as f32).sqrt()
    };
    let mut config = tiny::config();
    config.qformer.cross_attention_initializer_range = Some(0.2);
    let model = RepresentationModel::new(&mut Initializer::new(1, &Device::flex()), &config).unwrap();
    for (path, data) in blip2_core::weights::collect(&model) {
        if !path.ends_with("weight") || !path.contains("ttention.") || path.contains("layer_norm") {
            continue;
        }
        let expected = match path.contains("cross_attention.query") || path.contains("cross_attention.key") {
            true => 0.2,
            false => config.qformer.initializer_range,
        };
        let found = deviation(data.iter::<f32>().collect());
        assert!(
            (found / expected - 1.0).abs() < 0.2,
            "{path}: {found} for {expected}"
        );
    }
}
