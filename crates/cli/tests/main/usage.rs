//! Arguments, help, and the commands that need no model.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::{Fixture, Stages, stderr};

#[test]
fn wrong_usage_ends_with_exit_code_two() {
    let fixture = Fixture::new(Stages::First);
    let caption = ["caption", "--model", "model", "red.png"];
    let with = |extra: &[&'static str]| [&caption[..], extra].concat();
    for arguments in [
        vec!["paint"],
        vec!["caption"],
        vec!["caption", "--model", "model"],
        with(&["--num-beams", "0"]),
        with(&["--num-beams", "1000000"]),
        with(&["--max-new-tokens", "0"]),
        with(&["--top-p", "1.5"]),
        with(&["--top-p", "0"]),
        with(&["--temperature", "-1"]),
        with(&["--temperature", "nan"]),
        with(&["--repetition-penalty", "0"]),
        with(&["--length-penalty", "inf"]),
        with(&["--top-p", "0.9", "--sample=false"]),
        with(&["--num-beams", "3", "--num-captions", "4"]),
        with(&["--num-beams", "1", "--num-captions", "2"]),
        with(&["--early-stopping", "maybe"]),
        with(&["--resume"]),
        with(&["--by", "qformer", "--prompts", "p.jsonl"]),
        with(&["--by", "qformer", "--prompt", "a"]),
        with(&["--device", "abacus"]),
        with(&["--dtype", "f8"]),
        vec!["match", "--model", "model", "red.png"],
        vec!["embed", "--model", "model", "--mode", "image", "--out", "o"],
        vec![
            "embed", "--model", "model", "--mode", "text", "--out", "o", "red.png",
        ],
        vec![
            "embed",
            "--model",
            "model",
            "--mode",
            "multimodal",
            "--out",
            "o",
            "red.png",
        ],
        vec!["pretrain", "--recipe", "r.toml", "--run", "run", "--set", "seed"],
        vec!["completions", "klingon"],
        vec!["convert", "model", "out"],
        vec!["convert", "model", "out", "--to", "onnx"],
        vec!["convert", "model", "out", "--to", "lavis", "--like", "model"],
    ] {
        let output = fixture.run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            output.stdout.is_empty() && stderr(&output).contains("--help"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn texts_may_begin_with_a_hyphen() {
    let fixture = Fixture::new(Stages::Both);
    let texts = [
        "-5 or +5?",
        "- a list of",
        "--- and more",
        "-",
        "--colour",
        "-x",
        "--json is what?",
    ];
    let image = ["--model", "model", "red.png"];
    for text in texts {
        let prompt = [&["caption"][..], &image, &["--prompt", text]].concat();
        assert_eq!(fixture.records(&prompt)[0]["prompt"], *text);
        fixture.stdout(&[&["trace"][..], &image, &["--prompt", text, "--out", "t"]].concat());
        let question = [&["ask"][..], &image, &[text]].concat();
        assert_eq!(fixture.records(&question)[0]["question"], *text);
    }
    let matches = fixture.records(&[&["match"][..], &image, &["--text"], &texts[..]].concat());
    let matched: Vec<_> = matches
        .iter()
        .map(|record| record["text"].as_str().unwrap())
        .collect();
    assert_eq!(matched, texts);
    let embed = ["embed", "--model", "model", "--mode", "text", "--text"];
    let said = fixture.stdout(&[&embed[..], &texts, &["--out", "t"]].concat());
    assert!(
        said.contains(&format!("text_embeds_proj [{}, ", texts.len())),
        "{said}"
    );
}

#[test]
fn texts_are_told_from_what_stands_beside_them() {
    let fixture = Fixture::new(Stages::Both);
    let prompt = ["caption", "red.png", "--prompt", "--", "--model", "model"];
    assert_eq!(fixture.records(&prompt)[0]["prompt"], "--");
    let answers = fixture.records(&["ask", "--model", "model", "-5 or 6?", "red.png"]);
    assert_eq!(answers[0]["question"], "-5 or 6?");
    assert_eq!(answers[0]["image"], "red.png");
    let matching = [
        "match",
        "--model",
        "model",
        "--text",
        "-5 degrees",
        "two",
        "red.png",
    ];
    let matches = fixture.records(&matching);
    assert_eq!(matches.len(), 2);
    for (record, text) in matches.iter().zip(["-5 degrees", "two"]) {
        assert_eq!(record["text"], text);
        assert_eq!(record["image"], "red.png");
    }
}

#[test]
fn an_option_without_its_text_is_wrong_usage() {
    let fixture = Fixture::new(Stages::First);
    for arguments in [
        vec!["caption", "--model", "model", "red.png", "--prompt"],
        vec!["caption", "--model", "model", "red.png", "--prompt", "--json"],
        vec!["match", "--model", "model", "red.png", "--text", "--json"],
        vec!["match", "--model", "model", "red.png", "--text"],
    ] {
        let output = fixture.run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn help_teaches_by_examples() {
    let fixture = Fixture::new(Stages::First);
    let help = fixture.stdout(&["--help"]);
    for command in [
        "caption",
        "ask",
        "match",
        "embed",
        "trace",
        "inspect",
        "doctor",
        "pretrain",
        "completions",
    ] {
        assert!(help.contains(command), "{help}");
    }
    for command in [
        "caption",
        "ask",
        "match",
        "embed",
        "trace",
        "inspect",
        "pretrain",
        "completions",
    ] {
        let help = fixture.stdout(&[command, "--help"]);
        assert!(
            help.contains(&format!("  blip2 {command} ")),
            "no example in {help}"
        );
    }
}

#[test]
fn every_shell_gets_its_completions() {
    let fixture = Fixture::new(Stages::First);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fixture.stdout(&["completions", shell]);
        assert!(script.contains("length-penalty"), "{shell}");
    }
}

#[test]
fn what_is_not_built_in_says_how_to_build_it() {
    let fixture = Fixture::new(Stages::First);
    let caption = ["caption", "--model", "model", "red.png", "--by", "qformer"];
    for (device, feature, built_in) in [
        ("cuda", "cuda", cfg!(feature = "cuda")),
        ("wgpu", "wgpu", cfg!(feature = "wgpu")),
        ("libtorch", "tch", cfg!(feature = "tch")),
    ] {
        if !built_in {
            let parts = [&*format!("--features {feature}"), "--device flex"];
            fixture.assert_fails(&[&caption[..], &["--device", device]].concat(), &parts);
        }
    }
}

#[test]
fn frozen_models_are_held_in_every_number_format() {
    let fixture = Fixture::new(Stages::Both);
    let caption = ["caption", "--model", "model", "red.png", "--max-new-tokens", "3"];
    for format in ["auto", "f32", "bf16", "int8", "int4"] {
        let records = fixture.records(&[&caption[..], &["--dtype", format]].concat());
        assert_eq!(records.len(), 1, "{format}");
        assert!(
            !records[0]["ids"].as_array().expect("ids").is_empty(),
            "{format}: {records:?}"
        );
    }
}

#[test]
fn the_device_is_named_where_there_was_a_choice_and_to_the_curious() {
    let fixture = Fixture::new(Stages::First);
    let caption = ["caption", "--model", "model", "red.png", "--by", "qformer"];
    let said = stderr(&fixture.run(&caption));
    let said = said.lines().filter(|line| line.contains("device")).count();
    assert_eq!(said, usize::from(cfg!(any(feature = "cuda", feature = "wgpu"))));
    let verbose = fixture.run(&[&caption[..], &["-v"]].concat());
    let lines = stderr(&verbose);
    let chosen: Vec<&str> = lines
        .lines()
        .filter(|line| line.contains("chosen automatically"))
        .collect();
    assert_eq!(chosen.len(), 1, "{lines}");
    if !cfg!(any(feature = "cuda", feature = "wgpu")) {
        assert!(
            chosen[0].contains("device flex") && chosen[0].contains("cuda is not built in"),
            "{lines}"
        );
    }
}

#[test]
fn the_doctor_says_what_is_missing_and_what_to_do() {
    let fixture = Fixture::new(Stages::First);
    let output = fixture.run(&["doctor"]);
    let report = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report}");
    for line in report.lines() {
        let missing = line.starts_with("missing");
        assert!(missing || line.starts_with("ok"), "{line}");
        assert!(!missing || line.contains("cargo xtask assets"), "{line}");
    }
    assert!(
        report.contains("smollm2") && report.contains("ok       device"),
        "{report}"
    );
}

#[test]
fn a_recipe_that_is_wrong_is_named() {
    let fixture = Fixture::new(Stages::First);
    let pretrain = |recipe: &'static str| ["pretrain", "--recipe", recipe, "--run", "run"];
    fixture.assert_fails(&pretrain("absent.toml"), &["absent.toml"]);
    std::fs::write(fixture.path("bad.toml"), "seed = \"many\"").unwrap();
    fixture.assert_fails(&pretrain("bad.toml"), &["bad.toml"]);
    assert!(!fixture.path("run").exists(), "a run began");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let fixture = Fixture::new(Stages::Both);
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .args(["completions", "bash"])
        .current_dir(fixture.folder.path());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert!(child.wait().unwrap().success(), "{message}");
    assert_eq!(message, "");
}
