//! From a Hugging Face folder to LAVIS and back, and what cannot be converted.

use std::fs;

use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{Fixture, Stages};

#[test]
fn a_folder_goes_to_lavis_and_back() {
    let fixture_folder = Fixture::new(Stages::First);
    let model = fixture("hf/opt-tiny");
    let model = model.to_str().unwrap();
    let there = fixture_folder.stdout(&["convert", model, "lavis", "--to", "lavis"]);
    assert!(there.contains("tensors written to lavis"), "{there}");
    assert!(
        there.contains("vision_model.encoder.layers.0.self_attn.qkv.bias[key]: "),
        "{there}"
    );
    assert!(fixture_folder.path("lavis/model.pth").is_file());

    let records = fixture_folder.records(&["convert", "lavis", "back", "--to", "hf"]);
    let [record] = &records[..] else {
        panic!("one object: {records:?}")
    };
    assert_eq!(record["out"], "back");
    assert_eq!(record["frozen"], 0);
    for file in ["config.json", "tokenizer.json"] {
        assert_eq!(
            fs::read(fixture_folder.path("back").join(file)).unwrap(),
            fs::read(fixture("hf/opt-tiny").join(file)).unwrap(),
            "{file}"
        );
    }
    let listed = fixture_folder.records(&["inspect", "back"]);
    let tensors = listed.iter().filter(|line| line["name"] != Value::Null).count();
    assert_eq!(record["written"], tensors);
}

#[test]
fn what_cannot_be_converted_is_an_error() {
    let fixture_folder = Fixture::new(Stages::First);
    let model = fixture("hf/opt-tiny");
    let model = model.to_str().unwrap();
    fs::write(fixture_folder.path("notes.pth"), "no weights").unwrap();
    fs::create_dir(fixture_folder.path("full")).unwrap();
    fs::write(fixture_folder.path("full/letter.txt"), "dear reader").unwrap();
    fixture_folder.assert_fails(&["convert", model, "full", "--to", "hf"], &["full", "not empty"]);
    fixture_folder.assert_fails(
        &["convert", "notes.pth", "out", "--to", "hf"],
        &["config.json", "does not say what it is"],
    );
    fixture_folder.assert_fails(
        &["convert", "notes.pth", "out", "--to", "hf", "--like", model],
        &["notes.pth"],
    );
    fixture_folder.assert_fails(&["convert", "full", "out.pth", "--to", "lavis"], &["config.json"]);
    assert_eq!(
        fs::read(fixture_folder.path("full/letter.txt")).unwrap(),
        b"dear reader"
    );
    assert!(!fixture_folder.path("out").exists());
}

#[test]
fn what_was_trained_here_goes_to_lavis() {
    let fixture_folder = Fixture::new(Stages::First);
    let records = fixture_folder.records(&["convert", "model", "tuned.pth", "--to", "lavis"]);
    assert!(records[0]["written"].as_u64().unwrap() > 20, "{records:?}");
    let listed = fixture_folder.records(&["inspect", "tuned.pth"]);
    let names: Vec<&str> = listed.iter().filter_map(|line| line["name"].as_str()).collect();
    for name in ["query_tokens", "temp", "itm_head.weight", "ln_vision.weight"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let output = fixture_folder.run(&["convert", "model", "tuned", "--to", "hf"]);
    assert_eq!(output.status.code(), Some(2), "--like is needed");
    let output = fixture_folder.run(&[
        "convert",
        "model",
        "tuned",
        "--to",
        "hf",
        "--like",
        "model",
        "--vocabulary",
        "vocab.txt",
    ]);
    assert_eq!(output.status.code(), Some(2), "the model names its vocabulary");
}
