//! Recipes of pretraining: those of the repository, and what is refused with the key at fault.

use std::fs;
use std::path::{Path, PathBuf};

use blip2_core::Blocks;
use blip2_trainer::{FeaturesRecipe, Recipe, RecipeFile, TrainError};

const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes");

fn scenes() -> PathBuf {
    Path::new(RECIPES).join("mini/scenes.toml")
}

fn read(overrides: &[&str]) -> Result<Recipe, TrainError> {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Recipe::read(&scenes(), &overrides)
}

#[test]
fn every_recipe_of_the_repository_can_be_used() {
    let mut files = vec![scenes()];
    for folder in ["paper", "paper/finetune", "lavis"] {
        let entries = fs::read_dir(Path::new(RECIPES).join(folder)).expect("a folder of recipes");
        files.extend(
            entries
                .map(|entry| entry.expect("entry").path())
                .filter(|path| path.is_file()),
        );
    }
    assert!(files.len() > 6, "{files:?}");
    for file in files {
        let recipe = Recipe::read(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(recipe.stage1.is_some() || recipe.stage2.is_some());
        let folder = tempfile::tempdir().expect("folder");
        let resolved = folder.path().join("recipe.toml");
        fs::write(&resolved, recipe.to_toml().expect("TOML")).expect("writing");
        let again = Recipe::read(&resolved, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again, recipe, "{}", file.display());
    }
}

#[test]
fn overrides_reach_into_lists() {
    let changed = read(&[
        "data.0.path=elsewhere.tar",
        "data.0.weight=0.5",
        "features=stored",
        "loader.threads=3",
        "stage1.weights={ itg = 0.0 }",
    ])
    .expect("recipe");
    assert_eq!(changed.data[0].path, "elsewhere.tar");
    assert_eq!(changed.data[0].weight, Some(0.5));
    assert_eq!(changed.features, FeaturesRecipe::Stored);
    assert_eq!(changed.loader.threads, 3);
    let weights = changed.stage1.and_then(|stage| stage.weights).expect("weights");
    assert_eq!((weights.itc, weights.itm, weights.itg), (1.0, 1.0, 0.0));
}

#[test]
fn blocks_are_named_one_by_one_or_in_a_list() {
    let changed = read(&[
        "stage1.recompute=qformer",
        "stage2.recompute=['qformer', 'language']",
    ])
    .expect("recipe");
    assert_eq!(changed.stage1.expect("stage 1").recompute, [Blocks::QFormer]);
    let both = [Blocks::QFormer, Blocks::Language];
    assert_eq!(changed.stage2.expect("stage 2").recompute, both);
    let trained = read(&["encoder.train=true", "stage1.recompute=vision"]).expect("recipe");
    assert_eq!(trained.stage1.expect("stage 1").recompute, [Blocks::Vision]);
}

#[test]
fn what_holds_anyway_may_be_said() {
    let said = [
        "stage1.image_ids=false",
        "stage1.deterministic=false",
        "stage1.compare_every=1000",
        "stage1.recompute=[]",
        "stage2.prefix_language_modelling=false",
        "stage2.reads=nothing",
    ];
    assert_eq!(read(&said).expect("recipe"), read(&[]).expect("recipe"));
}

#[test]
fn a_name_with_a_slash_is_a_name() {
    let evaluation = "evaluation=[{ name = 'a/b', batches = 1, data = { format = 'folder', path = 'y' } }]";
    read(&[evaluation, "stage1.keep={ best = 'a/b/loss' }"]).expect("recipe");
    let error = read(&[evaluation, "stage1.keep={ best = 'a/loss' }"]).expect_err("no such evaluation");
    assert!(error.to_string().contains("stage1.keep.best"), "{error}");
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    for (overrides, key) in [
        (&["data=[]"][..], "data"),
        (&["data.1.path=x"], "data"),
        (&["data.0.colour=red"], "colour"),
        (&["loader.threads=0"], "loader.threads"),
        (&["loader.max_skipped=2"], "loader.max_skipped"),
        (&["stage1.parts=7"], "stage1.parts"),
        (&["stage1.text_from=runs/x"], "stage1.text_from"),
        (&["stage1.recompute=language"], "stage1.recompute"),
        (
            &["stage2.recompute=['qformer', 'vision']"],
            "stage2.recompute = \"vision\"",
        ),
        (&["stage1.recompute=everything"], "recompute"),
        (&["stage1.optimizer.ema=1.0"], "stage1.optimizer.ema"),
        (&["stage1.optimizer.clip_norm=-1.0"], "stage1.optimizer.clip_norm"),
        (&["stage1.optimizer.betas=[0.9, 1.0]"], "stage1.optimizer.betas"),
        (&["stage2.schedule.peak=-1e-4"], "stage2.schedule.peak"),
        (&["stage1.keep={ best = 'nowhere/loss' }"], "stage1.keep.best"),
        (&["stage1.images_ids=false"], "images_ids"),
        (
            &["representation.qformer.colour=1"],
            "representation.qformer.colour",
        ),
        (&["encoder.drop_path=0.1"], "encoder.train"),
        (
            &["encoder.train=true", "encoder.layer_decay=0.0"],
            "encoder.layer_decay",
        ),
        (&["encoder.train=true", "features=stored"], "encoder.train"),
        (&["bridge={ projection = 'kept' }"], "stage2.from"),
        (&["templates={ nothing = ['a'] }"], "templates.nothing"),
        (
            &["stage1.prefix_language_modelling=true"],
            "stage1.prefix_language_modelling",
        ),
        (&["stage2.interleaved=0"], "stage2.interleaved"),
        (&["stage2.interleaved=5"], "stage2.interleaved"),
        (&["stage1.interleaved=2"], "stage1.interleaved"),
        (&["stage1.keep={ oldest = 1 }"], "oldest"),
        (&["stage2.from=runs/x"], "stage2.from"),
        (&["stage2.weights={ itc = 1.0 }"], "stage2.weights"),
        (
            &["features=stored", "loader.augmentation={}"],
            "loader.augmentation",
        ),
        (&["loader.rand_augment=lavis"], "loader.augmentation"),
        (
            &["loader.augmentation={}", "loader.rand_augment=strong"],
            "loader.rand_augment",
        ),
        (&["features=painted"], "features"),
        (
            &["evaluation=[{ name = 'x', batches = 0, data = { format = 'folder', path = 'y' } }]"],
            "evaluation.0.batches",
        ),
    ] {
        let error = read(overrides).expect_err("a refusal").to_string();
        assert!(error.contains(key), "{overrides:?}: {error}");
    }
}

#[test]
fn a_recipe_needs_a_stage_and_stage_2_a_language_model() {
    let text = fs::read_to_string(scenes()).expect("recipe");
    let folder = tempfile::tempdir().expect("folder");
    let refusal = |text: &str| {
        let path = folder.path().join("own.toml");
        fs::write(&path, text).expect("writing");
        Recipe::read(&path, &[]).expect_err("a refusal").to_string()
    };
    let (head, _) = text.split_once("[stage1]").expect("stage 1");
    assert!(refusal(head).contains("[stage1]"));
    let start = text.find("[language_model]").expect("a section");
    let end = text.find("[representation]").expect("a section");
    let without = format!("{}{}", &text[..start], &text[end..]);
    assert!(refusal(&without).contains("[language_model]"));
}
