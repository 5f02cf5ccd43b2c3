//! A model that knows nothing pays what knowing nothing costs.

use blip2_core::ModelError;
use blip2_objectives::{NegativeSource, RepresentationLoss, RepresentationOptions, representation_loss};
use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::tiny;

fn losses(images: usize, texts: usize) -> Result<RepresentationLoss, ModelError> {
    let device = Device::flex().autodiff();
    let config = tiny::config();
    let options = RepresentationOptions {
        start_token: config.qformer.vocab_size as u32 - 1,
        ..RepresentationOptions::default()
    };
    let mut generator = ChaCha8Rng::seed_from_u64(4);
    let drawn = NegativeSource::Drawn(&mut generator);
    let (features, texts) = (tiny::features(images, &device), tiny::texts(texts, &device));
    representation_loss(&tiny::model(&config, &device), features, &texts, &options, drawn)
}

#[test]
fn first_losses_are_those_of_guessing() {
    for batch in [2, 8] {
        let loss = losses(batch, batch).expect("losses");
        let vocabulary = tiny::config().qformer.vocab_size;
        let value = |name: &str| loss.terms.get(name).expect("a term").into_scalar::<f32>();
        for (name, guessing) in [("itc", batch as f32), ("itm", 2.0), ("itg", vocabulary as f32)] {
            let value = value(name);
            assert!(
                (value - guessing.ln()).abs() < 0.1,
                "{name}: {value} instead of ln {guessing}"
            );
        }
        let total = loss.terms.total().expect("weights").into_scalar::<f32>();
        let sum: f32 = ["itc", "itm", "itg"].map(value).iter().sum();
        assert!((total - sum).abs() < 1e-5);
        assert!(
            loss.negatives
                .images
                .iter()
                .enumerate()
                .all(|(own, drawn)| own != *drawn)
        );
    }
}

#[test]
fn images_and_texts_come_in_pairs() {
    let error = losses(3, 2).unwrap_err();
    assert!(
        matches!(&error, ModelError::Invalid(text) if text.contains("3 images and 2 texts")),
        "{error}"
    );
    assert!(losses(1, 1).is_err(), "one pair has no negative");
}
