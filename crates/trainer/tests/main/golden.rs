//! Eight steps of AdamW on LAVIS's own code, recorded with their negatives (`tests/golden/lavis`), taken again.

use blip2_core::weights::{LoadOptions, SafetensorsStore, TensorStore, collect, load};
use blip2_golden::{each, json, tolerance, variants};
use blip2_objectives::{NegativeSource, Negatives, representation_loss};
use blip2_qformer::LAVIS_REPRESENTATION;
use blip2_trainer::{Optimizer, OptimizerConfig};
use serde_json::Value;

use crate::case::{Case, weights};

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn negatives(step: &Value) -> Negatives {
    let indices = |name: &str| {
        let list = step[name].as_array().expect("a list of indices");
        let index = |index: &Value| index.as_u64().expect("an index") as usize;
        list.iter().map(index).collect()
    };
    Negatives {
        images: indices("neg_image_idx"),
        texts: indices("neg_text_idx"),
    }
}

/// A tensor of a weight file as f32.
fn values(store: &SafetensorsStore, name: &str) -> Vec<f32> {
    store
        .read(name)
        .expect("golden tensor")
        .convert::<f32>()
        .try_to_vec()
        .expect("floats")
}

/// The root mean square of the difference, as a part of that of `theirs`: Adam makes a whole step of any gradient, however
/// small, and the sign of some that are next to nothing is rounding.
fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let pairs = ours.iter().zip(theirs);
    let difference = squares(&mut pairs.map(|(left, right)| f64::from(*left) - f64::from(*right)));
    let whole = squares(&mut theirs.iter().copied().map(f64::from));
    (difference / whole.max(f64::MIN_POSITIVE)).sqrt()
}

#[test]
fn losses_and_weights_follow_lavis() {
    each(variants("lavis/stage1_", "_trajectory.json"), |encoder| {
        let mut case = Case::new(&encoder);
        let (features, texts, mut model) = (case.features(), case.texts(), case.model.clone());
        let recorded = json(&format!("lavis/stage1_{encoder}_trajectory.json")).expect("just found");
        let config = OptimizerConfig {
            betas: [0, 1].map(|index| number(&recorded["betas"][index])),
            weight_decay: number(&recorded["weight_decay"]),
            clip_norm: None,
            ema: None,
        };
        let mut optimizer = Optimizer::new();
        for (index, step) in recorded["steps"].as_array().expect("steps").iter().enumerate() {
            let given = NegativeSource::Given(negatives(step));
            let loss =
                representation_loss(&model, features.clone(), &texts, &case.options, given).expect("loss");
            for term in loss.terms.iter().filter(|term| term.weight != 0.0) {
                let what = format!("trajectory/{index}.{}", term.name);
                let theirs = [number(&step[term.name])];
                case.check
                    .close(&what, &term.value, &theirs, tolerance::TRAJECTORY);
            }
            let gradients = loss.terms.total().expect("a weight").backward();
            model = optimizer
                .step(model, &gradients, &config, &|_| number(&recorded["lr"]))
                .0;
        }
        assert!(optimizer.steps() > 0, "{encoder}: nothing is recorded");

        let file = format!("stage1_{encoder}_after_{}_steps", optimizer.steps());
        let expected = weights(&file);
        for (path, data) in collect(&model) {
            // The gradient of a key's bias is rounding alone, and Adam makes whole steps of it: see below.
            if path.ends_with("key.bias") {
                continue;
            }
            let name = (LAVIS_REPRESENTATION.rename)(&path).expect("named");
            let apart = distance(&data.try_to_vec().expect("f32"), &values(&expected, &name));
            case.check
                .absolute(&format!("weight/{name}"), &[apart], &[0.0], tolerance::TRAJECTORY);
        }

        // All weights together, those biases among them, by what they do.
        let theirs = load(
            case.model.clone(),
            &expected,
            &LAVIS_REPRESENTATION,
            LoadOptions::default(),
        )
        .expect("weights");
        let [ours, theirs] = [&model, &theirs].map(|model| {
            let given = NegativeSource::Given(negatives(&recorded["steps"][0]));
            representation_loss(model, features.clone(), &texts, &case.options, given)
                .expect("loss")
                .terms
                .total()
                .expect("a weight")
        });
        case.check
            .close("loss-afterwards", &ours, &theirs, tolerance::TRAJECTORY);
    });
}
