//! Values are the same, to the bit, and so are gradients, but for what several blocks or passes read: there they are added up in another
//! order.

use blip2_core::{Blocks, Initializer, ModelError, TextExample, VisionEncoder, with_recomputed};
use blip2_golden::fixture;
use blip2_llm_adapters::load_language_model;
use blip2_objectives::{
    NegativeSource, Negatives, RepresentationOptions, RepresentationStep, language_modelling_loss,
};
use blip2_qformer::{Bridge, RepresentationConfig, RepresentationModel};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use burn::tensor::{Device, Tensor};

use crate::gradients::{ByPath, assert_equal_bits, gradients};
use crate::{alone, tiny};

/// The tiny model with the dropout of the paper.
fn config() -> RepresentationConfig {
    let mut config = tiny::config();
    config.qformer.hidden_dropout_prob = 0.1;
    config.qformer.attention_probs_dropout_prob = 0.1;
    config
}

fn device() -> Device {
    Device::flex().autodiff()
}

/// What `compute` gives plainly, and with the blocks of `parts` computed again; the generator begins alike.
fn both<T>(parts: &[Blocks], compute: impl Fn() -> T) -> [T; 2] {
    [&[][..], parts].map(|parts| {
        device().seed(11);
        with_recomputed(parts, &compute)
    })
}

/// The same but for rounding: `share` of the largest of each tensor, where that is not nothing beside the largest of all, as with
/// biases that softmax takes no notice of.
fn assert_near(ours: &ByPath, theirs: &ByPath, share: f32) {
    assert_eq!(ours.len(), theirs.len());
    let all = theirs.values().flatten().flatten();
    let least = all.fold(0.0_f32, |most, value| most.max(value.abs())) / 1000.0;
    for (path, theirs) in theirs {
        let (ours, theirs) = (
            ours[path].as_deref().unwrap_or(&[]),
            theirs.as_deref().unwrap_or(&[]),
        );
        assert_eq!(ours.len(), theirs.len(), "{path}");
        let largest = theirs.iter().fold(least, |most, value| most.max(value.abs()));
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!(
                (ours - theirs).abs() <= share * largest,
                "{path}: {ours} and {theirs}"
            );
        }
    }
}

#[test]
fn an_encoder_that_drops_paths_learns_the_same() {
    let _alone = alone();
    let config = VisionTransformerConfig {
        hidden_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 2,
        intermediate_size: 48,
        image_size: 28,
        ..VisionTransformerConfig::small()
    };
    let encoder = VisionTransformer::new(&config, &mut Initializer::new(4, &device())).expect("sizes");
    let encoder = encoder.with_drop_path(0.5).expect("a share");
    let pixels = Initializer::new(5, &Device::flex())
        .normal([4, 3, 28, 28], 1.0)
        .val();
    let pixels = Tensor::<4>::from_data(pixels.into_data(), &device());
    let [kept, again] = both(&[Blocks::Vision], || {
        let features = encoder.encode(pixels.clone()).expect("features");
        (
            features.to_data(),
            gradients(&encoder, &features.square().mean().backward()),
        )
    });
    assert!(kept.1["blocks.2.attention.query.weight"].is_some());
    assert_eq!(again.0, kept.0);
    assert_equal_bits(&again.1, &kept.1);
}

/// The norm of the features is read by every layer that reads the picture; the output of an encoder by every layer of its decoder.
#[test]
fn stage_2_learns_the_same_behind_language_models_of_both_kinds() {
    let _alone = alone();
    let both_kinds = [Blocks::QFormer, Blocks::Language];
    for (name, has_encoder) in [("hf/opt-tiny", false), ("hf/flant5-tiny", true)] {
        let frozen = load_language_model(&fixture(name), &Device::flex())
            .expect("a language model")
            .model;
        let mut initializer = Initializer::new(5, &device());
        let model = tiny::model(&config(), &device());
        let bridge = Bridge::from_representation(&mut initializer, model, frozen.hidden_size());
        let words = |first: u32, count: u32| (first..first + count).collect();
        let examples: Vec<_> = (0..3)
            .map(|row| TextExample {
                prompt: words(5 + row, row),
                target: words(9 + row, 3 + row),
            })
            .collect();
        for parts in [&both_kinds[..1], &both_kinds[1..], &both_kinds] {
            let [kept, again] = both(parts, || {
                let features = tiny::features(3, &device());
                let loss =
                    language_modelling_loss(&bridge, frozen.as_ref(), features, &examples).expect("a loss");
                let found = gradients(&bridge, &loss.backward());
                (loss.into_scalar::<f32>(), found)
            });
            assert_eq!(again.0.to_bits(), kept.0.to_bits(), "{name} {parts:?}");
            assert!(kept.1["qformer.query_tokens"].is_some());
            assert_near(&again.1, &kept.1, 5e-6);
            if !(has_encoder && parts.contains(&Blocks::Language)) {
                let own = |found: ByPath| -> ByPath {
                    found
                        .into_iter()
                        .filter(|(path, _)| !path.starts_with("vision_norm"))
                        .collect()
                };
                assert_equal_bits(&own(again.1), &own(kept.1));
            }
        }
    }
}

/// The four passes of stage 1 read the same weights.
#[test]
fn stage_1_learns_the_same_but_for_the_order_of_sums() {
    let _alone = alone();
    let model: RepresentationModel = tiny::model(&config(), &device());
    let (texts, features) = (tiny::rows(4), tiny::features(4, &device()));
    let options = RepresentationOptions {
        start_token: tiny::config().qformer.vocab_size as u32 - 1,
        ..RepresentationOptions::default()
    };
    for parts in [1, 2] {
        let [kept, again] = both(&[Blocks::QFormer], || {
            let next: Vec<usize> = (0..4).map(|row| (row + 1) % 4).collect();
            let given = NegativeSource::Given(Negatives {
                images: next.clone(),
                texts: next,
            });
            let step = RepresentationStep::new(&model, &options, &texts, parts, given, 3).expect("a step");
            let learned = step.gradients(&mut |rows: &[usize]| {
                let rows = rows.iter().map(|row| features.clone().narrow(0, *row, 1));
                Ok::<_, ModelError>(Tensor::cat(rows.collect(), 0))
            });
            let learned = learned.expect("gradients");
            let loss = learned.terms.total().expect("weights").into_scalar::<f32>();
            (loss, gradients(&model, &learned.gradients))
        });
        assert_eq!(again.0.to_bits(), kept.0.to_bits(), "{parts} parts");
        assert_near(&again.1, &kept.1, 5e-6);
    }
}
