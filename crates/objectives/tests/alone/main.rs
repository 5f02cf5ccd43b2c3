//! What is told only by a process of its own: the memory that a step takes, which the allocator of this binary counts, and its
//! dropout, since the device's generator is shared.

use std::sync::Mutex;

use blip2_core::ModelError;
use blip2_objectives::{NegativeSource, RepresentationOptions, RepresentationStep};
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

#[path = "../../../core/tests/footprint/counting.rs"]
mod counting;
#[allow(dead_code, reason = "made for several binaries")]
#[path = "../../../qformer/tests/main/tiny.rs"]
mod tiny;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn options() -> RepresentationOptions {
    RepresentationOptions {
        start_token: tiny::config().qformer.vocab_size as u32 - 1,
        ..RepresentationOptions::default()
    }
}

/// The features of `rows`, made when they are asked for, as an encoder would.
fn encoded(rows: &[usize], device: &Device) -> Result<Tensor<3>, ModelError> {
    let rows = rows
        .iter()
        .map(|row| tiny::features(1, device) * (1.0 + *row as f64 / 64.0));
    Ok(Tensor::cat(rows.collect(), 0))
}

/// The most that is held while a step on `batch` pairs runs in `parts`, beyond what is held before it.
fn peak(model: &RepresentationModel, batch: usize, parts: usize) -> usize {
    let (options, texts, device) = (options(), tiny::rows(batch), model.qformer.device());
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let (peak, _) = counting::peak(|| {
        let drawn = NegativeSource::Drawn(&mut generator);
        let step = RepresentationStep::new(model, &options, &texts, parts, drawn, 1).unwrap();
        step.gradients(&mut |rows: &[usize]| encoded(rows, &device))
            .unwrap()
    });
    peak
}

#[test]
fn memory_grows_with_a_part_and_not_with_the_batch() {
    let _alone = ALONE.lock();
    let model = tiny::model(&tiny::config(), &Device::flex().autodiff());
    peak(&model, 16, 2);
    let [small, cut, whole] = [(16, 2), (128, 16), (128, 1)].map(|(batch, parts)| peak(&model, batch, parts));
    assert!(
        cut < small + small / 2,
        "{cut} bytes for 16 parts, {small} for 2 of the same size"
    );
    assert!(whole > 5 * cut, "{whole} bytes in one part, {cut} in 16");
}

#[test]
fn a_part_has_the_same_dropout_in_both_passes() {
    let _alone = ALONE.lock();
    let config = RepresentationConfig {
        qformer: QFormerConfig {
            hidden_dropout_prob: 0.3,
            attention_probs_dropout_prob: 0.3,
            ..tiny::config().qformer
        },
        ..tiny::config()
    };
    let model = tiny::model(&config, &Device::flex().autodiff());
    let (options, texts, device) = (options(), tiny::rows(32), model.qformer.device());
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let drawn = NegativeSource::Drawn(&mut generator);
    let step = RepresentationStep::new(&model, &options, &texts, 4, drawn, 1).unwrap();
    let embed = |model: &RepresentationModel, part: usize| -> TensorData {
        let embeddings = step.embed(model, part, &mut |rows: &[usize]| encoded(rows, &device));
        embeddings.unwrap().images.into_data()
    };
    let tracked = embed(&model, 1);
    let untracked = model.clone().freeze();
    assert_eq!(tracked, embed(&untracked, 1), "the pass without graph");
    embed(&untracked, 2);
    assert_eq!(tracked, embed(&untracked, 1), "whatever came before");
    assert_ne!(tracked, embed(&model.valid(), 1), "dropout is on");
}
