//! An encoder that learns: its rates by depth, and parts of a batch against the batch in one.

use blip2::LoadedEncoder;
use blip2_core::{Initializer, ModelError};
use blip2_data::pixels::{ImageProcessor, RgbImage};
use blip2_objectives::{
    NegativeSource, Negatives, RepresentationOptions, RepresentationStep, RepresentationWeights,
    StepGradients,
};
use blip2_qformer::RepresentationModel;
use blip2_trainer::{Batch, Row, Sighted, Tuned};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::gradients::gradients;
use crate::tiny;

const SIDE: u32 = 42;

fn vit() -> VisionTransformer {
    let config = VisionTransformerConfig {
        hidden_size: tiny::config().qformer.encoder_hidden_size,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        intermediate_size: 24,
        image_size: 28,
        layer_scale: None,
        ..VisionTransformerConfig::small()
    };
    VisionTransformer::new(&config, &mut Initializer::new(4, &Device::flex())).expect("sizes")
}

type Whole = Tuned<RepresentationModel>;

fn tuned(drop_path: f64) -> Whole {
    let loaded = LoadedEncoder {
        encoder: Box::new(vit()),
        processor: ImageProcessor::clip_square(SIDE),
    };
    let device = Device::flex().autodiff();
    let model = tiny::model(&tiny::config(), &device);
    let encoder = loaded
        .vision_transformer()
        .expect("an encoder that can be trained");
    let tuned = Tuned::new(&loaded, model);
    tuned.with_encoder(encoder, drop_path, &device).expect("a share")
}

fn batch(rows: u32) -> Batch {
    let picture = |row: u32| {
        RgbImage::from_fn(SIDE, SIDE, |x, y| {
            [x * 5 + row * 40, y * 6, x * y + row * 70]
                .map(|value| (value % 256) as u8)
                .into()
        })
    };
    let row = |row: u32| Row {
        index: u64::from(row),
        picture: Some(picture(row)),
        ..Row::default()
    };
    Batch {
        rows: (0..rows).map(row).collect(),
        features: Tensor::zeros([rows as usize, 1, 1], &Device::flex().autodiff()),
    }
}

#[test]
fn its_positions_are_those_of_the_pictures_and_are_trained() {
    let tuned = tuned(0.0);
    assert_eq!(tuned.encoder.as_ref().expect("trained").grid(), [3, 3]);
    let features = tuned.features(&batch(2), &[0, 1]).expect("features");
    assert_eq!(features.dims()[..2], [2, 10]);
    let reached = gradients(&tuned, &features.square().sum().backward());
    assert!(reached["encoder.embeddings.positions"].is_some());
    assert!(reached["encoder.blocks.0.attention.query.weight"].is_some());
    assert!(reached["model.qformer.query_tokens"].is_none());
}

#[test]
fn drop_path_acts_in_training_alone() {
    let (plain, dropping) = (tuned(0.0), tuned(0.6));
    let rows: Vec<usize> = (0..6).collect();
    let seen = |tuned: &Tuned<_>, batch: &Batch| tuned.features(batch, &rows).expect("features").into_data();
    let valid = Batch {
        features: Tensor::zeros([6, 1, 1], &Device::flex()),
        ..batch(6)
    };
    assert_eq!(seen(&plain.valid(), &valid), seen(&dropping.valid(), &valid));
    let first = seen(&dropping, &batch(6));
    assert_ne!(first, seen(&plain, &batch(6)));
    assert_ne!(
        first,
        seen(&dropping, &batch(6)),
        "other branches are left out each time"
    );
}

/// The step on `batch` in `parts`, with given negatives.
fn step(tuned: &Whole, batch: &Batch, texts: &[Vec<u32>], parts: usize, itg_alone: bool) -> StepGradients {
    let share = if itg_alone { 0.0 } else { 1.0 };
    let options = RepresentationOptions {
        start_token: tiny::config().qformer.vocab_size as u32 - 1,
        weights: RepresentationWeights {
            itc: share,
            itm: share,
            itg: 1.0,
        },
        ..RepresentationOptions::default()
    };
    let next: Vec<usize> = (0..texts.len()).map(|row| (row + 1) % texts.len()).collect();
    let given = NegativeSource::Given(Negatives {
        images: next.clone(),
        texts: next,
    });
    let step = RepresentationStep::new(&tuned.model, &options, texts, parts, given, 0).expect("a step");
    let features = &mut |rows: &[usize]| {
        let features = tuned.features(batch, rows);
        features.map_err(|error| ModelError::Invalid(error.to_string()))
    };
    step.gradients_within(tuned, features).expect("gradients")
}

#[test]
fn gradients_of_the_encoder_are_the_mean_over_parts() {
    let (tuned, batch, texts) = (tuned(0.0), batch(4), tiny::rows(4));
    let whole = gradients(&tuned, &step(&tuned, &batch, &texts, 2, true).gradients);
    let halves = [0, 1].map(|part| {
        let texts = &texts[2 * part..2 * part + 2];
        gradients(
            &tuned,
            &step(&tuned, &batch.part(part, 2), texts, 1, true).gradients,
        )
    });
    let mut compared = 0;
    for (path, whole) in whole.iter().filter(|(path, _)| path.starts_with("encoder.")) {
        let whole = whole.as_ref().expect("the encoder is reached");
        let [first, second] = [0, 1].map(|half: usize| halves[half][path].as_ref().expect("reached"));
        let largest = whole.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
        for ((whole, first), second) in whole.iter().zip(first).zip(second) {
            assert!((whole - (first + second) / 2.0).abs() <= 1e-4 * largest, "{path}");
        }
        compared += 1;
    }
    assert!(compared > 20);
}

/// Pictures that another part drew as negatives are encoded within the graph of that part: contrast and matching reach the encoder
/// in any number of parts, and the mean over parts of one is the mean over all.
#[test]
fn negatives_of_other_parts_reach_the_encoder() {
    let (tuned, batch, texts) = (tuned(0.0), batch(4), tiny::rows(4));
    let [one, four] = [1, 4].map(|parts| {
        // Without generation, whose mean over parts weighs tokens otherwise.
        gradients(&tuned, &step(&tuned, &batch, &texts, parts, false).gradients)
    });
    let generation =
        [1, 4].map(|parts| gradients(&tuned, &step(&tuned, &batch, &texts, parts, true).gradients));
    for (path, one) in one.iter().filter(|(path, _)| path.starts_with("encoder.")) {
        let rest = |all: &[f32], part: &[f32]| -> Vec<f32> {
            all.iter().zip(part).map(|(all, part)| all - part).collect()
        };
        let known = |gradient: &Option<Vec<f32>>| gradient.clone().expect("the encoder is reached");
        let one = rest(&known(one), &known(&generation[0][path]));
        let four = rest(&known(&four[path]), &known(&generation[1][path]));
        let largest = one.iter().fold(1e-5_f32, |most, value| most.max(value.abs()));
        for (one, four) in one.iter().zip(&four) {
            assert!((one - four).abs() <= 2e-3 * largest, "{path}: {one} and {four}");
        }
    }
}
