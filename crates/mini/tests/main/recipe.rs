//! Recipes of the embedded default: those of the repository, overrides, and what is refused with the key at fault.

use std::fs;
use std::path::{Path, PathBuf};

use blip2_mini::{MiniRecipe, is_recipe};
use blip2_trainer::{Precision, Recipe, RecipeFile, TrainError};

fn recipes() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../recipes/mini"
    ))];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of recipes") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if is_recipe(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn demo() -> PathBuf {
    recipes()
        .into_iter()
        .find(|path| path.ends_with("mini/demo.toml"))
        .expect("the demo's recipe")
}

fn read(overrides: &[&str]) -> Result<MiniRecipe, TrainError> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    MiniRecipe::read(&demo(), &overrides)
}

/// The refusal of `recipe` `text`, which names the file.
fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("own.toml");
    fs::write(&path, text).expect("writing");
    message(MiniRecipe::read(&path, &[]), &path)
}

fn message(result: Result<MiniRecipe, TrainError>, file: &Path) -> String {
    let error = result.expect_err("a refusal");
    assert!(
        matches!(&error, TrainError::Recipe { path, .. } if path == file),
        "{error}"
    );
    error.to_string()
}

#[test]
fn every_recipe_of_the_repository_can_be_used() {
    let files = recipes();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let recipe = MiniRecipe::read(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
        let folder = tempfile::tempdir().expect("folder");
        let resolved = folder.path().join("recipe.toml");
        fs::write(&resolved, recipe.to_toml().expect("TOML")).expect("writing");
        assert_eq!(
            MiniRecipe::read(&resolved, &[]).expect("resolved"),
            recipe,
            "{}",
            file.display()
        );
    }
}

#[test]
fn overrides_change_what_they_name_and_nothing_else() {
    let plain = read(&[]).expect("recipe");
    let changed = read(&[
        "seed=7",
        "stage1.steps=3",
        "stage1.schedule.peak=2e-4",
        "stage2.optimizer.betas=[0.8, 0.9]",
        "encoder.path=elsewhere/vit.onnx",
        "language_model.prompt=\"a photo of\"",
        "stage2.maximum_temperature=0.5",
        "data.training_scenes=64",
    ])
    .expect("recipe");
    let mut expected = plain;
    expected.seed = 7;
    expected.stage1.steps = 3;
    expected.stage1.schedule.peak = 2e-4;
    expected.stage2.optimizer.betas = [0.8, 0.9];
    expected.encoder.path = "elsewhere/vit.onnx".into();
    expected.language_model.prompt = "a photo of".to_owned();
    expected.stage2.maximum_temperature = Some(0.5);
    expected.data.training_scenes = 64;
    assert_eq!(changed, expected);
    assert_eq!(
        read(&["seed=1", "seed=2"]).expect("recipe").seed,
        2,
        "the last word counts"
    );
}

#[test]
fn unknown_keys_are_refused_by_name() {
    for place in [
        "",
        "encoder.",
        "language_model.",
        "representation.",
        "representation.qformer.",
        "data.",
        "stage1.",
        "stage1.schedule.",
        "stage2.optimizer.",
        "evaluation.",
    ] {
        let text = message(read(&[&format!("{place}colour=1")]), &demo());
        assert!(text.contains("colour"), "{place}: {text}");
    }
    let text = fs::read_to_string(demo()).expect("recipe");
    let text = refusal(&text.replace("[data]", "[data]\nshade = 'dark'"));
    assert!(text.contains("shade"), "{text}");
}

#[test]
fn overrides_that_lead_nowhere_are_refused_by_name() {
    for (assignment, named) in [
        ("stage3.steps=1", "`stage3`"),
        ("stage1.schedule.inner.peak=1", "`inner`"),
        ("seed.inner=1", "`seed`"),
        ("stage1.steps", "`stage1.steps`"),
        ("=1", "``"),
    ] {
        let text = message(read(&[assignment]), &demo());
        assert!(text.contains(named), "{assignment}: {text}");
    }
}

#[test]
fn values_of_another_kind_are_refused_by_name() {
    for (assignment, key) in [
        ("seed=-1", "seed"),
        ("seed=many", "seed"),
        ("stage1.steps=1.5", "steps"),
        ("stage1.schedule.peak=high", "peak"),
        ("stage2.optimizer.betas=[0.9]", "betas"),
        ("encoder.block=last", "block"),
        ("representation.qformer.hidden_size=wide", "hidden_size"),
        ("data.training_scenes=few", "training_scenes"),
    ] {
        let text = message(read(&[assignment]), &demo());
        assert!(text.contains(key), "{assignment}: {text}");
    }
}

#[test]
fn values_that_cannot_work_are_refused_by_name() {
    for (assignment, key) in [
        ("stage1.batch=1", "stage1.batch"),
        ("stage2.batch=0", "stage2.batch"),
        ("stage1.batch=31", "stage1.batch"),
        ("data.training_scenes=1", "stage1.batch"),
        ("stage1.checkpoint_every=0", "stage1.checkpoint_every"),
        ("stage2.log_every=0", "stage2.log_every"),
        ("evaluation.gallery=19", "evaluation.gallery"),
    ] {
        let text = message(read(&[assignment]), &demo());
        assert!(text.contains(key), "{assignment}: {text}");
    }
}

#[test]
fn a_run_begins_before_its_first_stage_or_with_it() {
    let recipe = read(&["stage1.from=runs/other", "stage1.steps=0"]).expect("recipe");
    assert_eq!(recipe.stage1.from, Some(PathBuf::from("runs/other")));
    let text = message(read(&["stage2.from=runs/other"]), &demo());
    assert!(
        text.contains("stage2.from") && text.contains("stage1.from"),
        "{text}"
    );
}

#[test]
fn the_models_of_the_evidence_are_the_demo_s() {
    let demo = read(&[]).expect("recipe");
    let evidence = |name: &str| {
        let file = demo_folder().join("../evidence").join(name);
        Recipe::read(&file, &[]).expect("recipe")
    };
    let (bridge, easy_vqa) = (evidence("bridge.toml"), evidence("easy-vqa.toml"));
    for recipe in [&bridge, &easy_vqa] {
        assert_eq!(recipe.encoder.config, demo.encoder);
        assert_eq!(recipe.language_model.as_ref(), Some(&demo.language_model));
        assert_eq!(recipe.representation, demo.representation);
    }
    assert_eq!(bridge.bridge, demo.bridge);
}

fn demo_folder() -> PathBuf {
    demo().parent().expect("a folder").to_owned()
}

#[test]
fn a_key_left_out_is_named() {
    let text = fs::read_to_string(demo()).expect("recipe");
    for key in ["max_text_tokens", "training_scenes", "question_prompt"] {
        let without: String = text
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = refusal(&without);
        assert!(text.contains(key), "{key}: {text}");
    }
}

#[test]
fn files_that_are_no_recipes_are_refused() {
    assert!(refusal("seed = ").contains("own.toml"));
    assert!(refusal("\u{0}\u{1}").contains("own.toml"));
    let nowhere = PathBuf::from("no-such-recipe.toml");
    message(MiniRecipe::read(&nowhere, &[]), &nowhere);
}

#[test]
fn precision_is_single_unless_a_stage_says_otherwise() {
    let text = fs::read_to_string(demo()).expect("recipe");
    let silent: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("precision"))
        .collect();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("recipe.toml");
    fs::write(&file, silent.join("\n")).expect("writing");
    let recipe = MiniRecipe::read(&file, &["stage1.precision=bf16".to_owned()]).expect("a recipe");
    assert_eq!(recipe.stage1.precision, Precision::Bf16);
    assert_eq!(recipe.stage2.precision, Precision::F32);
    let error = message(read(&["stage1.precision=f16"]), &demo());
    assert!(error.contains("f16") && error.contains("bf16"), "{error}");
}
