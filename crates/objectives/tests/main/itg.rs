//! The generation loss against logits and labels written out, row by row.

use blip2_core::ModelError;
use blip2_objectives::itg_loss;
use blip2_qformer::TextBatch;
use burn::tensor::Device;
use burn::tensor::activation::log_softmax;

use crate::tiny;

const START: u32 = 89;

#[test]
fn only_the_words_after_the_first_are_predicted() {
    let (device, batch, smoothing) = (Device::flex(), 3, 0.1);
    let model = tiny::model(&tiny::config(), &device);
    let context = model
        .image_context(tiny::features(batch, &device))
        .expect("features");
    let images = model.qformer.query_pass(&context, batch);
    let loss = itg_loss(&model, &images, &tiny::texts(batch, &device), START, smoothing).expect("loss");

    let vocabulary = model.qformer.config().vocab_size as f64;
    let (mut sum, mut count) = (0.0, 0.0);
    for (index, mut ids) in tiny::rows(batch).into_iter().enumerate() {
        ids[0] = START;
        let text = TextBatch::new(vec![ids.clone(); batch], &device).expect("text");
        let states = model.qformer.causal_pass(&images, &text).expect("causal pass");
        let [_, tokens, width] = states.dims();
        let states = states.narrow(0, index, 1).reshape([tokens, width]);
        let logits = log_softmax(model.language_head.logits(states, model.decoder()), 1);
        let rows = logits.into_data().try_to_vec::<f32>().expect("f32");
        for (row, next) in rows.chunks(vocabulary as usize).zip(&ids[1..]) {
            let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / vocabulary;
            sum -= (1.0 - smoothing) * f64::from(row[*next as usize]) + smoothing * mean;
            count += 1.0;
        }
    }
    let loss = f64::from(loss.into_scalar::<f32>());
    assert!(
        (loss - sum / count).abs() < 1e-5,
        "{loss} instead of {}",
        sum / count
    );
}

#[test]
fn texts_of_one_token_have_nothing_to_predict() {
    let device = Device::flex();
    let model = tiny::model(&tiny::config(), &device);
    let context = model.image_context(tiny::features(2, &device)).expect("features");
    let images = model.qformer.query_pass(&context, 2);
    let texts = TextBatch::new(vec![vec![1], vec![2]], &device).expect("texts");
    let error = itg_loss(&model, &images, &texts, START, 0.1).unwrap_err();
    assert!(
        matches!(&error, ModelError::Invalid(text) if text.contains("second token")),
        "{error}"
    );
    let outside = itg_loss(&model, &images, &tiny::texts(2, &device), 90, 0.1).unwrap_err();
    assert!(
        matches!(outside, ModelError::Vocabulary { id: 90, .. }),
        "{outside}"
    );
}
