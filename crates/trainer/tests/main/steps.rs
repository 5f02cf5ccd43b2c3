//! Training a tiny model for a few steps, as the loop does: each step's batch and draws are decided by its number.

use blip2_objectives::{NegativeSource, RepresentationOptions, representation_loss};
use blip2_qformer::RepresentationModel;
use blip2_trainer::{Optimizer, OptimizerConfig};
use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::tiny;

const BATCH: usize = 4;

pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

pub(crate) fn fresh() -> RepresentationModel {
    tiny::model(&tiny::config(), &device())
}

/// Takes the steps that `numbers` names.
pub(crate) fn train(
    mut model: RepresentationModel,
    optimizer: &mut Optimizer,
    numbers: impl Iterator<Item = u64>,
) -> RepresentationModel {
    let start_token = tiny::config().qformer.vocab_size as u32 - 1;
    let options = RepresentationOptions {
        start_token,
        ..RepresentationOptions::default()
    };
    let config = OptimizerConfig {
        betas: [0.9, 0.98],
        weight_decay: 0.05,
        clip_norm: Some(1.0),
        ema: None,
    };
    for step in numbers {
        let rows = (step as usize % 3)..(step as usize % 3 + BATCH);
        let features = tiny::features(BATCH + 3, &device()).slice([rows.clone()]);
        let texts = tiny::texts(BATCH + 3, &device()).select(&rows.collect::<Vec<_>>());
        let mut generator = ChaCha8Rng::seed_from_u64(9);
        generator.set_stream(step);
        let drawn = NegativeSource::Drawn(&mut generator);
        let loss = representation_loss(&model, features, &texts, &options, drawn).expect("loss");
        let gradients = loss.terms.total().expect("loss").backward();
        let rate = |path: &str| {
            if path.contains("projection") {
                1e-3
            } else {
                1e-3 / step as f64
            }
        };
        model = optimizer.step(model, &gradients, &config, &rate).0;
    }
    model
}
