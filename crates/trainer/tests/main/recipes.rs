//! The recipes of the repository: each builds its model at full size on paper, with the parameters that were published, and takes
//! three steps at a small width.

use std::path::{Path, PathBuf};

use blip2_core::weights::{ParameterInfo, collect, parameters};
use blip2_core::{Initializer, ModelError, TextExample};
use blip2_golden::fixture;
use blip2_llm_adapters::load_language_model;
use blip2_objectives::{
    NegativeSource, RepresentationStep, StepGradients, Terms, average_over_parts, language_modelling_loss,
};
use blip2_qformer::{Bridge, QFormerConfig, RepresentationConfig, RepresentationModel};
use blip2_trainer::{Optimizer, Recipe, RecipeFile, StageRecipe};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::finetune::{run_on, scaled_down, write_lists};
use crate::tiny;

/// Width of the encoder, and what stage 1 trains behind it: a public log of LAVIS, and the same arithmetic for ViT-L.
const REPRESENTATION: [(usize, usize); 2] = [(1408, 186_705_470), (1024, 183_165_758)];
/// Language models by their path, with their width, and what stage 2 trains in front of them behind an encoder of that width.
const BRIDGE: [(&str, usize, usize, usize); 6] = [
    ("facebook/opt-2.7b", 2560, 1408, 107_133_696),
    ("facebook/opt-6.7b", 4096, 1408, 108_314_880),
    ("google/flan-t5-xl", 2048, 1408, 106_739_968),
    ("google/flan-t5-xxl", 4096, 1408, 108_314_880),
    ("facebook/opt-2.7b", 2560, 1024, 103_593_984),
    ("google/flan-t5-xl", 2048, 1024, 103_200_256),
];
const STEPS: u64 = 3;

/// All recipes that name models of full size.
fn recipes() -> Vec<(PathBuf, Recipe)> {
    let recipes = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes"));
    let files = ["paper", "lavis"].iter().flat_map(|folder| {
        let folder = std::fs::read_dir(recipes.join(folder)).expect("a folder of recipes");
        folder
            .map(|file| file.expect("a recipe").path())
            .filter(|file| file.is_file())
    });
    let read = |file: PathBuf| {
        let recipe = Recipe::read(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
        (file, recipe)
    };
    let read: Vec<_> = files.map(read).collect();
    assert!(read.len() >= 10, "{} recipes were found", read.len());
    read
}

fn count(list: &[ParameterInfo]) -> usize {
    list.iter()
        .map(|parameter| parameter.shape.iter().product::<usize>())
        .sum()
}

#[test]
fn every_recipe_trains_as_much_as_was_published() {
    for (file, recipe) in recipes() {
        let mut initializer = Initializer::new(0, &Device::flex().autodiff());
        let qformer = &recipe.representation.qformer;
        if recipe.stage1.is_some() {
            let model = RepresentationModel::new(&mut initializer, &recipe.representation).expect("sizes");
            let mut published = REPRESENTATION.iter();
            let expected = published.find(|(width, _)| *width == qformer.encoder_hidden_size);
            assert_eq!(
                Some(count(&parameters(&model))),
                expected.map(|(_, count)| *count),
                "{}",
                file.display()
            );
        }
        if recipe.stage2.is_some() {
            let behind = recipe.language_model.expect("a language model").path;
            let mut published = BRIDGE.iter();
            let found = published.find(|(path, _, features, _)| {
                Path::new(path) == behind && *features == qformer.encoder_hidden_size
            });
            let (_, width, _, expected) = found.expect("models of the paper");
            let epsilon = recipe.representation.vision_layer_norm_eps;
            let bridge = Bridge::new(&mut initializer, qformer, epsilon, *width).expect("sizes");
            assert_eq!(count(&parameters(&bridge)), *expected, "{}", file.display());
        }
    }
}

/// The same recipe at the size of the tests' model; dropout, layers that read the picture and epsilons stay.
fn small(recipe: &Recipe) -> RepresentationConfig {
    let (full, tiny) = (&recipe.representation, tiny::config());
    RepresentationConfig {
        qformer: QFormerConfig {
            hidden_dropout_prob: full.qformer.hidden_dropout_prob,
            attention_probs_dropout_prob: full.qformer.attention_probs_dropout_prob,
            initializer_range: full.qformer.initializer_range,
            layer_norm_eps: full.qformer.layer_norm_eps,
            cross_attention_frequency: full.qformer.cross_attention_frequency,
            ..tiny.qformer
        },
        vision_layer_norm_eps: full.vision_layer_norm_eps,
        ..tiny
    }
}

/// Takes three steps of `stage` as `step` computes them, and asks that every parameter that has to moves.
fn train<M: Module>(
    file: &Path,
    stage: &StageRecipe,
    mut model: M,
    mut step: impl FnMut(&M, u64) -> Result<StepGradients, ModelError>,
) {
    let before = collect(&model);
    let mut optimizer = Optimizer::new();
    for number in 1..=STEPS {
        let StepGradients { gradients, terms } = step(&model, number).expect("a step");
        let total = terms.total().expect("weights").into_scalar::<f32>();
        assert!(total.is_finite(), "{}: loss {total}", file.display());
        // Three steps of the paper's warm-up would hardly show in single precision.
        let rate = stage.schedule.rate(stage.schedule.warmup_steps, stage.steps);
        model = optimizer.step(model, &gradients, &stage.optimizer, &|_| rate).0;
    }
    for ((path, before), (_, after)) in before.into_iter().zip(collect(&model)) {
        assert_ne!(before, after, "{}: {path} did not move", file.display());
    }
}

#[test]
fn every_recipe_takes_three_steps_at_a_small_width() {
    let device = Device::flex().autodiff();
    for (file, recipe) in recipes() {
        let config = small(&recipe);
        if let Some(stage) = &recipe.stage1 {
            // Two pairs a part.
            let pairs = 2 * stage.parts;
            let (texts, features) = (tiny::rows(pairs), tiny::features(pairs, &device));
            let options = stage.representation_options(config.qformer.vocab_size as u32 - 1);
            let model = tiny::model(&config, &device);
            train(&file, stage, model, |model, number| {
                let mut generator = ChaCha8Rng::seed_from_u64(recipe.seed);
                generator.set_stream(number);
                let drawn = NegativeSource::Drawn(&mut generator);
                let step = RepresentationStep::new(model, &options, &texts, stage.parts, drawn, number)?;
                step.gradients(&mut |rows: &[usize]| {
                    let rows = rows.iter().map(|row| features.clone().narrow(0, *row, 1));
                    Ok::<_, ModelError>(Tensor::cat(rows.collect(), 0))
                })
            });
        }
        if let Some(stage) = &recipe.stage2 {
            let name = match stage.prefix_language_modelling {
                true => "hf/flant5-tiny",
                false => "hf/opt-tiny",
            };
            let frozen = load_language_model(&fixture(name), &Device::flex())
                .expect("a language model")
                .model;
            let mut initializer = Initializer::new(recipe.seed, &device);
            let bridge = Bridge::from_representation(
                &mut initializer,
                tiny::model(&config, &device),
                frozen.hidden_size(),
            );
            let features = tiny::features(stage.parts, &device);
            train(&file, stage, bridge, |bridge, number| {
                average_over_parts(bridge, stage.parts, |part| {
                    let words = |length: usize| {
                        (0..length).map(|place| 4 + (part + place + number as usize) as u32 % 20)
                    };
                    let example = TextExample {
                        prompt: words(2 + part % 3).collect(),
                        target: words(3 + part % 4).collect(),
                    };
                    let features = features.clone().narrow(0, part, 1);
                    let mut terms = Terms::default();
                    terms.add(
                        "lm",
                        1.0,
                        language_modelling_loss(bridge, frozen.as_ref(), features, &[example])?,
                    );
                    Ok(terms)
                })
            });
        }
    }
}

#[test]
fn every_recipe_is_run_from_its_file() {
    for (file, recipe) in recipes() {
        let behind = recipe
            .stage2
            .as_ref()
            .map(|stage| stage.prefix_language_modelling);
        let model = fixture(match behind {
            None => "hf/itm-tiny",
            Some(true) => "hf/flant5-tiny",
            Some(false) => "hf/opt-tiny",
        });
        let folder = tempfile::tempdir().expect("folder");
        write_lists(folder.path());
        let run = run_on(
            &Device::flex(),
            &scaled_down(&file, &model, folder.path()),
            folder.path(),
        );
        let log = std::fs::read_to_string(run.join("metrics.jsonl")).expect("a log");
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let losses: Vec<f64> = lines.filter_map(|line| line["loss"].as_f64()).collect();
        assert_eq!(losses.len(), STEPS as usize, "{}", file.display());
        assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
        assert!(run.join("model").is_dir(), "{}", file.display());
    }
}
