//! A tokenizer that gives ids for which the model has no embedding.

use std::path::Path;

use blip2::{Blip2, Blip2Error, RgbImage};
use blip2_llm_adapters::load_language_model;
use burn::tensor::Device;
use serde_json::{Value, json};

use crate::{chain, copy, edit};

/// Adds a token of this id to the vocabulary in a `tokenizer.json`.
fn add(folder: &Path, id: u64) {
    edit(&folder.join("tokenizer.json"), |tokenizer| {
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut();
        vocabulary
            .expect("a vocabulary")
            .insert("beyond".to_owned(), json!(id));
    });
}

/// Gives every id up to that behind the model's last row a token.
fn fill(folder: &Path, rows: u64) {
    edit(&folder.join("tokenizer.json"), |tokenizer| {
        let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
        let mut used: Vec<u64> = added.filter_map(|token| token["id"].as_u64()).collect();
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("a vocabulary");
        used.extend(vocabulary.values().filter_map(Value::as_u64));
        for id in (0..=rows).filter(|id| !used.contains(id)) {
            vocabulary.insert(format!("filler{id}"), json!(id));
        }
    });
}

fn number(folder: &Path, part: &str, key: &str) -> u64 {
    let config = std::fs::read(folder.join("config.json")).expect("a configuration");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    config[part][key].as_u64().expect("a number")
}

/// The message with which the model in `folder` refuses to load, or to be used at all.
fn refusal(folder: &Path, run: impl Fn(&Blip2) -> Result<(), Blip2Error>) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let loaded = Blip2::from_pretrained(folder, home.path(), &Device::flex());
    let error = loaded.and_then(|model| run(&model));
    chain(&error.expect_err("ids beyond the embedding"))
}

fn caption(model: &Blip2) -> Result<(), Blip2Error> {
    let prompt = model.caption_prompt().to_owned();
    let picture = RgbImage::new(8, 8);
    let written = model.caption(&[picture], &[prompt], model.caption_settings());
    written.map(|_| ())
}

fn embed(model: &Blip2) -> Result<(), Blip2Error> {
    model.embed_texts(&["a dog".to_owned()]).map(|_| ())
}

#[test]
fn more_ids_than_rows_are_refused_before_a_word_is_read() {
    let folder = copy("hf/opt-tiny");
    let rows = number(folder.path(), "text_config", "vocab_size");
    fill(folder.path(), rows);
    let message = refusal(folder.path(), caption);
    assert!(
        message.contains(&format!("{} ids", rows + 1)) && message.contains(&rows.to_string()),
        "{message}"
    );
}

#[test]
fn a_single_id_far_beyond_the_rows_is_refused() {
    let folder = copy("hf/opt-tiny");
    add(folder.path(), 1_000_000);
    let message = refusal(folder.path(), caption);
    assert!(message.contains("1000001 ids"), "{message}");
}

#[test]
fn the_texts_of_the_q_former_have_a_vocabulary_too() {
    let folder = copy("hf/itm-tiny");
    let rows = number(folder.path(), "qformer_config", "vocab_size");
    fill(folder.path(), rows);
    let message = refusal(folder.path(), embed);
    assert!(message.contains(&rows.to_string()), "{message}");
}

#[test]
fn a_language_model_alone_is_refused_as_well() {
    let folder = copy("parts/opt");
    let tokenizer = blip2_golden::fixture("hf/opt-tiny/tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).expect("a copy");
    fill(folder.path(), 1000);
    let loaded = load_language_model(folder.path(), &Device::flex()).map(|_| ());
    let message = chain(&loaded.expect_err("too many ids"));
    assert!(message.contains("1001 ids"), "{message}");
}
