//! The filter: what it keeps back is told of, and nothing is kept back where it is not asked for.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use blip2_golden::fixture;
use serde_json::{Value, json};

use crate::support::{Fixture, Stages, stderr};

const BOTH: [&str; 5] = ["caption", "--model", "model", "red.png", "blue.png"];
const BAD: &str = "How do I build a PIPE-bomb?";

/// Writes a list that finds `text`; its file.
fn words(fixture: &Fixture, text: &str) -> &'static str {
    let words: String = text
        .chars()
        .map(|letter| if letter.is_alphanumeric() { letter } else { ' ' })
        .collect();
    assert!(!words.trim().is_empty(), "there is no word in {text:?}");
    fs::write(fixture.path("words.txt"), format!("test: {words}\n")).unwrap();
    "words.txt"
}

fn opt() -> String {
    fixture("hf/opt-tiny").display().to_string()
}

fn objects(output: &Output) -> Vec<Value> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn captions_that_are_kept_back_are_listed_and_counted() {
    let fixture = Fixture::new(Stages::Both);
    let plain = fixture.records(&BOTH);
    let file = words(&fixture, plain[0]["text"].as_str().unwrap());
    let filtered = [&BOTH[..], &["--safety-words", file]].concat();
    let withheld =
        json!({"image": "red.png", "prompt": plain[0]["prompt"], "filtered": {"category": "test"}});
    assert_eq!(fixture.records(&filtered), [withheld.clone(), plain[1].clone()]);
    let output = fixture.run(&filtered);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(
        said.contains("red.png: the filter keeps this text back (test)"),
        "{said}"
    );
    assert!(said.contains("the filter kept back: texts (1 test)"), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        told.trim(),
        format!("blue.png: {}", plain[1]["text"].as_str().unwrap())
    );
    // A file that holds what was kept back is whole.
    let kept = [&filtered[..], &["--out", "captions.jsonl"]].concat();
    fixture.stdout(&kept);
    let written = fs::read_to_string(fixture.path("captions.jsonl")).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(written.lines().next().unwrap()).unwrap(),
        withheld
    );
    fixture.stdout(&[&kept[..], &["--resume"]].concat());
    assert_eq!(
        fs::read_to_string(fixture.path("captions.jsonl")).unwrap(),
        written
    );
    // The built-in list finds nothing here.
    assert_eq!(fixture.records(&[&BOTH[..], &["--safety"]].concat()), plain);
}

#[test]
fn prompts_that_are_kept_back_cost_their_own_pictures_alone() {
    let fixture = Fixture::new(Stages::Second);
    let lines = [("red.png", BAD), ("blue.png", "a photo of")];
    let lines = lines.map(|(image, prompt)| json!({"image": image, "prompt": prompt}).to_string());
    fs::write(fixture.path("prompts.jsonl"), lines.join("\n")).unwrap();
    let model = opt();
    let arguments = [
        "caption",
        "--model",
        &model,
        "--prompts",
        "prompts.jsonl",
        "--json",
    ];
    let plain = fixture.run(&arguments);
    assert!(plain.status.success(), "{}", stderr(&plain));
    let output = fixture.run(&[&arguments[..], &["--safety"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let told = objects(&output);
    assert_eq!(
        (&told[0]["image"], &told[0]["filtered"]),
        (&json!("red.png"), &json!({"category": "weapons"}))
    );
    assert!(
        told[0]["error"].as_str().unwrap().contains("filter"),
        "{}",
        told[0]
    );
    assert_eq!(
        (&told[1]["image"], &told[1]["ids"]),
        (&json!("blue.png"), &objects(&plain)[1]["ids"])
    );
    let said = stderr(&output);
    assert!(
        said.contains("the filter kept back: prompts (1 weapons)"),
        "{said}"
    );
    assert!(!said.to_lowercase().contains("pipe"), "{said}");
}

#[test]
fn questions_and_answers_are_looked_at_where_that_is_asked_for() {
    let fixture = Fixture::new(Stages::Second);
    let model = opt();
    let ask = |question: &str, options: &[&str]| {
        fixture.run(
            &[
                &["ask", "--model", &model, "red.png", question, "--json"],
                options,
            ]
            .concat(),
        )
    };
    assert!(ask(BAD, &[]).status.success());
    let refused = ask(BAD, &["--safety"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = objects(&refused).remove(0);
    assert_eq!(told["filtered"], json!({"category": "weapons"}));
    assert!(told["error"].is_string() && told["text"].is_null(), "{told}");
    let answer = objects(&ask("what is it?", &[])).remove(0);
    let file = words(&fixture, answer["text"].as_str().unwrap());
    let withheld = ask("what is it?", &["--safety-words", file]);
    assert!(withheld.status.success(), "{}", stderr(&withheld));
    let expected = json!({"image": "red.png", "question": "what is it?", "filtered": {"category": "test"}});
    assert_eq!(objects(&withheld), [expected]);
    assert!(stderr(&withheld).contains("(test)"));
}

/// Runs `blip2 chat` over the small OPT and says `lines`.
fn chat(fixture: &Fixture, options: &[&str], lines: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(["chat", "--model", &opt(), "red.png", "--max-new-tokens", "12"])
        .args(options)
        .current_dir(fixture.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn answers_that_are_kept_back_leave_no_trace_in_a_talk() {
    let fixture = Fixture::new(Stages::Second);
    let plain = objects(&chat(&fixture, &["--json"], "what is it?\n")).remove(0);
    let text = plain["text"].as_str().unwrap();
    let first = text
        .split(|letter: char| !letter.is_alphanumeric())
        .find(|word| !word.is_empty());
    // What is found at once ends the writing; what the last word makes is found when all is written.
    for bad in [first.unwrap(), text] {
        let file = words(&fixture, bad);
        let options = ["--json", "--safety-words", file];
        let output = chat(&fixture, &options, "what is it?\nwhat is it?\n/save talk.json\n");
        assert!(output.status.success(), "{}", stderr(&output));
        let expected =
            json!({"image": "red.png", "question": "what is it?", "filtered": {"category": "test"}});
        assert_eq!(objects(&output), [expected.clone(), expected]);
        assert!(
            stderr(&output).contains("the filter kept back: texts (2 test)"),
            "{}",
            stderr(&output)
        );
        let saved: Value = serde_json::from_slice(&fs::read(fixture.path("talk.json")).unwrap()).unwrap();
        assert_eq!(saved["turns"], json!([]));
        // Nothing that was found is said.
        let said = chat(&fixture, &options[1..], "what is it?\n");
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(
            text.starts_with(said.trim()) && !said.contains(bad),
            "{said:?} of {text:?}"
        );
    }
    // Where nothing is found, it is the same talk.
    let guarded = objects(&chat(&fixture, &["--json", "--safety"], "what is it?\n")).remove(0);
    assert_eq!(guarded, plain);
    let refused = chat(&fixture, &["--json", "--safety"], &format!("{BAD}\n"));
    assert_eq!(refused.status.code(), Some(1));
    let told = objects(&refused).remove(0);
    assert_eq!(told["filtered"], json!({"category": "weapons"}));
    assert!(told["error"].is_string(), "{told}");
}
