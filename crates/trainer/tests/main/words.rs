//! The words around texts, as recipes say them.

use std::path::Path;

use blip2_golden::fixture;
use burn::tensor::Device;
use toml::Table;

use crate::finetune::{RECIPES, scaled_down, try_run_on, write_lists};

#[test]
fn words_around_a_question_have_its_place_and_those_around_a_caption_have_none() {
    let refusal = |recipe: &str, model: &str, set: &str, words: &str| {
        let (model, folder) = (fixture(model), tempfile::tempdir().expect("folder"));
        write_lists(folder.path());
        let mut recipe = scaled_down(&Path::new(RECIPES).join(recipe), &model, folder.path());
        let templates = Table::from_iter([(set.to_owned(), toml::Value::from(vec![words]))]);
        recipe.insert("templates".to_owned(), toml::Value::Table(templates));
        let error = try_run_on(&Device::flex(), &recipe, folder.path()).expect_err("words that do not fit");
        error.to_string()
    };
    let asked = refusal(
        "instruct-vit-g-flan-t5-xl.toml",
        "hf/flant5-tiny",
        "vqav2",
        "Short answer:",
    );
    assert!(asked.contains("no place for the question"), "{asked}");
    let said = refusal(
        "caption-vit-g-opt-2.7b.toml",
        "hf/opt-tiny",
        "coco",
        "What is {}?",
    );
    assert!(said.contains("in front of a caption"), "{said}");
}
