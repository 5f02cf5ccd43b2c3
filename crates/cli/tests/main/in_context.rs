//! Questions behind examples: which are drawn, and what they change.

use std::fs;

use serde_json::json;

use crate::dataset::photos;
use crate::evaluate::{MODEL, evaluate, listed, run};
use crate::support::{Fixture, Stages, stderr};

/// Questions about photographs, with an answer each, as JSON lines.
fn questions(fixture: &Fixture, count: u32) -> String {
    photos(fixture, count);
    let line = |number: u32| {
        let (id, question) = (format!("q{number}"), format!("w{}?", 10 + number));
        json!({"image": format!("{number:03}.png"), "id": id, "question": question, "answers": [format!("w{}", 3 + number)]})
            .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    fs::write(fixture.path("photos/asked.jsonl"), lines.join("\n")).unwrap();
    "jsonl:photos/asked.jsonl".to_owned()
}

#[test]
fn examples_stand_in_front_of_questions_and_are_drawn_by_the_seed() {
    let fixture = Fixture::new(Stages::Both);
    let data = questions(&fixture, 6);
    let answers = |out: &str, more: &[&str]| {
        let more = [&["--examples-from", &data][..], more].concat();
        evaluate(&fixture, "vqa", &data, out, &more);
        fs::read_to_string(fixture.path(&format!("{out}/answers-1-of-1.jsonl"))).unwrap()
    };
    fixture.stdout(&run("vqa", &data, "plain"));
    let plain = fs::read_to_string(fixture.path("plain/answers-1-of-1.jsonl")).unwrap();
    assert_eq!(answers("none", &["--examples", "0"]), plain);
    let shown = answers("shown", &["--examples", "3", "--seed", "1"]);
    assert_eq!(
        answers("again", &["--examples", "3", "--seed", "1", "--batch", "1"]),
        shown
    );
    let others = [
        answers("other", &["--examples", "3", "--seed", "2"]),
        answers("fewer", &["--examples", "1", "--seed", "1"]),
        plain,
    ];
    assert!(others.iter().all(|other| *other != shown), "{shown}\n{others:?}");

    let command = |out: &str, more: &[&str]| -> Vec<String> {
        let all = [&run("vqa", &data, out)[..], more].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let fails = |out: &str, more: &[&str], said: &[&str]| {
        let all = command(out, more);
        fixture.assert_fails(&all.iter().map(String::as_str).collect::<Vec<_>>(), said);
    };
    // Its own picture is no example.
    let from = ["--examples-from", &data];
    fails(
        "x",
        &[&["--examples", "6"], &from[..]].concat(),
        &["5 questions", "too few for 6"],
    );
    fails(
        "shown",
        &[&["--examples", "2"], &from[..]].concat(),
        &["another `examples`"],
    );
    fails("shown", &[], &["another `examples`"]);
    let captions = listed(&fixture, 2);
    let from = ["--examples", "1", "--examples-from", &captions];
    fails("x", &from, &["0 questions with answers"]);
    for wrong in [
        &["--task", "vqa", "--examples", "2"][..],
        &["--task", "caption", "--examples-from", "x"],
    ] {
        let all = [&MODEL[..], wrong, &["--data", &data, "--out", "x"]].concat();
        let output = fixture.run(&all);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", stderr(&output));
    }
}
