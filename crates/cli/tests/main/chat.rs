//! Conversations: lines in, answers out.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use blip2_golden::fixture;
use serde_json::Value;

use crate::support::{Fixture, Stages, stderr};

/// Runs `blip2 chat` in `folder` and says `lines`.
fn chat(folder: &Path, arguments: &[&str], lines: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .arg("chat")
        .args(arguments)
        .current_dir(folder)
        .env("BLIP2_HOME", folder.join("home"))
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_ref()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What the model writes behind a prompt of one's own.
fn caption(fixture: &Fixture, model: &str, picture: &str, prompt: &str) -> Value {
    let arguments = [
        "caption",
        "--model",
        model,
        picture,
        "--prompt",
        prompt,
        "--num-beams",
        "1",
    ];
    fixture
        .records(&[&arguments[..], &["--max-new-tokens", "8"]].concat())
        .remove(0)
}

#[test]
fn each_answer_follows_what_was_said_before() {
    let fixture = Fixture::new(Stages::Second);
    let model = fixture_path("hf/opt-tiny");
    let arguments = ["--model", &model, "red.png", "--json", "--max-new-tokens", "8"];
    let lines = "what is it?\n\nand where?\n/image blue.png\nwhat is it?\n/reset\nwhat is it?\n";
    let output = chat(fixture.folder.path(), &arguments, lines);
    let answers: Vec<Value> = said(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 4);
    let text = |answer: &Value| answer["text"].as_str().unwrap().trim_end_matches('.').to_owned();
    let prompts = [
        ("red.png", "Question: what is it? Answer:".to_owned()),
        (
            "red.png",
            format!(
                "Question: what is it? Answer: {}. Question: and where? Answer:",
                text(&answers[0])
            ),
        ),
        ("blue.png", "Question: what is it? Answer:".to_owned()),
        ("blue.png", "Question: what is it? Answer:".to_owned()),
    ];
    for (answer, (picture, prompt)) in answers.iter().zip(prompts) {
        let expected = caption(&fixture, &model, picture, &prompt);
        assert_eq!(answer["image"], picture);
        assert_eq!(answer["ids"], expected["ids"], "{prompt}");
    }
    assert_ne!(
        answers[0]["score"], answers[2]["score"],
        "the picture does not count"
    );
}

#[test]
fn answers_are_said_a_line_each_and_saved() {
    let fixture = Fixture::new(Stages::Second);
    let model = fixture_path("hf/opt-tiny");
    let arguments = ["--model", &model, "red.png", "--max-new-tokens", "8"];
    let lines = "one?\ntwo?\n/save talk.json\n/quit\nthree?\n";
    let output = chat(fixture.folder.path(), &arguments, lines);
    let said = said(&output);
    let saved: Value = serde_json::from_slice(&std::fs::read(fixture.path("talk.json")).unwrap()).unwrap();
    assert_eq!(
        (&saved["image"], &saved["model"]),
        (&"red.png".into(), &model.into())
    );
    let turns = saved["turns"].as_array().unwrap();
    let answers: Vec<&str> = turns
        .iter()
        .map(|turn| turn["answer"].as_str().unwrap())
        .collect();
    assert_eq!(turns[1]["question"], "two?");
    assert_eq!(said.lines().collect::<Vec<_>>(), answers);
}

#[test]
fn the_questions_of_a_model_of_our_own_are_put_as_it_was_trained() {
    let fixture = Fixture::new(Stages::Second);
    let arguments = ["--model", "model", "red.png", "--json", "--max-new-tokens", "8"];
    let output = chat(fixture.folder.path(), &arguments, "W5\nw6\n");
    let answers: Vec<Value> = said(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = caption(&fixture, "model", "red.png", "w8 w5 w9");
    assert_eq!(answers[0]["ids"], first["ids"]);
    let prompt = format!("w8 w5 w9 {}. w8 w6 w9", answers[0]["text"].as_str().unwrap());
    assert_eq!(
        answers[1]["ids"],
        caption(&fixture, "model", "red.png", &prompt)["ids"]
    );
}

#[test]
fn lines_that_fail_are_told_and_the_talk_goes_on() {
    let fixture = Fixture::new(Stages::Second);
    let model = fixture_path("hf/opt-tiny");
    let lines = "what is it?\n/image nowhere.png\n/dance\n/image red.png\nwhat is it?\n";
    let output = chat(
        fixture.folder.path(),
        &["--model", &model, "--max-new-tokens", "4"],
        lines,
    );
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    for part in ["no picture", "nowhere.png", "`/dance`", "3 of the lines"] {
        assert!(said.contains(part), "does not say `{part}`: {said}");
    }
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        1,
        "one question had a picture"
    );
    let refused = chat(
        fixture.folder.path(),
        &["--model", &model, "red.png", "--template", "qwen"],
        "who?\n",
    );
    assert!(stderr(&refused).contains("<|im_end|>"), "{}", stderr(&refused));
}

#[test]
fn a_talk_that_outgrows_the_model_forgets_its_beginning() {
    let fixture = Fixture::new(Stages::Second);
    let model = fixture_path("hf/opt-tiny");
    let lines = "what is it?\n".repeat(12);
    let output = chat(
        fixture.folder.path(),
        &["--model", &model, "red.png", "--max-new-tokens", "1"],
        &lines,
    );
    said(&output);
}

#[test]
fn questions_that_fail_have_objects_and_lines_that_are_no_text_do_not_end_the_talk() {
    let fixture = Fixture::new(Stages::Second);
    let model = fixture_path("hf/opt-tiny");
    let arguments = ["--model", &model, "--json", "--max-new-tokens", "4"];
    let lines = b"what is it?\n\xff\xfe?\n/image red.png\nwhat is it?\n";
    let output = chat(fixture.folder.path(), &arguments, lines);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("UTF-8"), "{}", stderr(&output));
    let records: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 3);
    assert!(records[0]["error"].as_str().unwrap().contains("no picture"));
    assert!(records[1]["error"].as_str().unwrap().contains("UTF-8"));
    assert_eq!(
        (&records[2]["image"], &records[2]["error"]),
        (&"red.png".into(), &Value::Null)
    );
    assert!(records[2]["text"].is_string());
}

#[test]
fn pictures_in_the_home_folder_are_found() {
    let fixture = Fixture::new(Stages::Second);
    let model = fixture_path("hf/opt-tiny");
    let mut child = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(["chat", "--model", &model, "--max-new-tokens", "4"])
        .env("HOME", fixture.folder.path())
        .env("BLIP2_HOME", fixture.path("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"/image ~/red.png\nwhat is it?\n")
        .unwrap();
    said(&child.wait_with_output().unwrap());
}

fn fixture_path(name: &str) -> String {
    fixture(name).display().to_string()
}
