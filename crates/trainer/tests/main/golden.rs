//! Eight steps of AdamW on LAVIS's own code, recorded with their negatives (`tests/golden/lavis`), taken again.

use blip2_core::weights::collect;
use blip2_objectives::{NegativeSource, Negatives, representation_loss};
use blip2_qformer::LAVIS_REPRESENTATION;
use blip2_trainer::{Optimizer, OptimizerConfig};
use serde_json::Value;

use crate::case::{Case, ENCODERS, json, largest, open, relative, values};

/// Of losses relative to themselves, of weights to each tensor's largest magnitude.
const TOLERANCE: f32 = 1e-3;

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn indices(step: &Value, name: &str) -> Vec<usize> {
    let list = step[name].as_array().expect("a list of indices");
    list.iter()
        .map(|index| index.as_u64().expect("an index") as usize)
        .collect()
}

#[test]
fn losses_and_weights_follow_lavis() {
    for encoder in ENCODERS {
        let case = Case::new(encoder);
        let (features, texts, mut model) = (case.raw_features(), case.texts(), case.model.clone());
        let recorded = json(&format!("stage1_{encoder}_trajectory.json"));
        let config = OptimizerConfig {
            betas: [0, 1].map(|index| number(&recorded["betas"][index])),
            weight_decay: number(&recorded["weight_decay"]),
            clip_norm: None,
        };
        let mut optimizer = Optimizer::new();
        for (index, step) in recorded["steps"].as_array().expect("steps").iter().enumerate() {
            let negatives = Negatives {
                images: indices(step, "neg_image_idx"),
                texts: indices(step, "neg_text_idx"),
            };
            let given = NegativeSource::Given(negatives);
            let loss =
                representation_loss(&model, features.clone(), &texts, &case.options, given).expect("loss");
            for (name, ours) in [
                ("itc", &loss.contrastive),
                ("itm", &loss.matching),
                ("itg", &loss.generation),
            ] {
                let (ours, theirs) = (ours.clone().into_scalar::<f32>(), number(&step[name]) as f32);
                let apart = relative(ours, theirs);
                assert!(
                    apart < TOLERANCE,
                    "{encoder}, step {index}, {name}: {ours} instead of {theirs}"
                );
            }
            let gradients = loss.total().backward();
            model = optimizer
                .step(model, &gradients, &config, &|_| number(&recorded["lr"]))
                .0;
        }
        assert!(optimizer.steps() > 0, "{encoder}: nothing is recorded");

        let expected = open(&format!("stage1_{encoder}_after_8_steps.safetensors"));
        for (path, data) in collect(&model) {
            // The gradient of a key's bias is rounding alone, and Adam makes whole steps of it.
            if path.ends_with("key.bias") {
                continue;
            }
            let theirs = values(&expected, &(LAVIS_REPRESENTATION.rename)(&path).expect("named"));
            let ours = data.try_to_vec::<f32>().expect("f32");
            assert_eq!(ours.len(), theirs.len(), "{encoder} {path}");
            let apart = largest(ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs));
            let allowed = TOLERANCE * largest(theirs.iter().copied());
            assert!(
                apart <= allowed,
                "{encoder} {path}: {apart} apart, {allowed} allowed"
            );
        }
    }
}
