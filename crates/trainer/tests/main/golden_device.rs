//! Training on another device follows training on the processor: recipes of the paper at a tiny width, from pictures in a list to the
//! last step, so with encoder, language model, objectives and optimiser on the device.

use std::path::Path;

use blip2_golden::{Check, DEVICE, device, each, fixture, tolerance};
use burn::tensor::Device;
use serde_json::{Map, Value};
use toml::Table;

use crate::finetune::{run_on, scaled_down, section, write_lists};

const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/paper");
/// A recipe of each stage and kind of language model, and the tiny models that it is taken with.
const CASES: [(&str, &str); 3] = [
    ("stage1-vit-g", "hf/itm-tiny"),
    ("stage2-vit-g-opt-2.7b", "hf/opt-tiny"),
    ("stage2-vit-g-flan-t5-xl", "hf/flant5-tiny"),
];
/// What a line of the log says of a step, as far as the device decides it.
const FIGURES: [&str; 6] = ["loss", "itc", "itm", "itg", "lm", NORM];
const NORM: &str = "gradient_norm";

/// The recipe called `name`, without what devices do not share: chance of their own in dropout, and units for bfloat16.
fn recipe(name: &str, model: &Path, folder: &Path) -> Table {
    let file = Path::new(RECIPES).join(format!("{name}.toml"));
    let mut recipe = scaled_down(&file, model, folder);
    let qformer = section(section(&mut recipe, "representation"), "qformer");
    for dropout in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        qformer.insert(dropout.to_owned(), 0.0.into());
    }
    let stage = name.split('-').next().expect("a stage");
    section(&mut recipe, stage).insert("precision".to_owned(), "f32".into());
    recipe
}

/// The lines of the log about steps.
fn steps(run: &Path) -> Vec<Map<String, Value>> {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
    let lines = log.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .filter(|line: &Map<String, Value>| line.contains_key("gradient_norm"))
        .collect()
}

#[test]
#[ignore = "compares another device with the processor: `cargo xtask parity --device wgpu` runs it"]
fn training_follows_the_processor() {
    let other = device();
    assert_ne!(other, Device::flex(), "{DEVICE} names no other device");
    each(CASES, |(name, model)| {
        let [expected, found] = [Device::flex(), other.clone()].map(|device| {
            let folder = tempfile::tempdir().expect("folder");
            write_lists(folder.path());
            let recipe = recipe(name, &fixture(model), folder.path());
            steps(&run_on(&device, &recipe, folder.path()))
        });
        let mut check = Check::new(&format!("training/{name}"));
        check.identical("steps", &[found.len()], &[expected.len()]);
        for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
            for figure in FIGURES {
                let value = |line: &Map<String, Value>| line.get(figure).and_then(Value::as_f64);
                let Some(expected) = value(expected) else { continue };
                let found = value(found).expect("the same figures");
                // Weights are the same in front of the first step alone.
                let tolerance = match step == 0 && figure != NORM {
                    true => tolerance::LOSS,
                    false => tolerance::TRAJECTORY,
                };
                check.close(
                    &format!("{figure}/{}", step + 1),
                    &[found],
                    &[expected],
                    tolerance,
                );
            }
        }
    });
}
