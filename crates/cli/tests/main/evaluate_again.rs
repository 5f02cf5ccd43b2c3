//! Evaluations of data that is damaged, or was mended between two runs: what is missing is said, and what was found stays that of
//! its picture.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::evaluate::{evaluate, file, golden, listed, run};
use crate::support::{Fixture, Stages};

/// What one run after the other found, without the names of folders.
fn figures(record: &Value) -> (&Value, &Value, &Value) {
    (&record["count"], &record["failed"], &record["figures"])
}

#[test]
fn a_picture_that_cannot_be_used_is_counted_and_tried_again() {
    let fixture = Fixture::new(Stages::Both);
    let data = listed(&fixture, 5);
    fs::write(fixture.path("photos/002.png"), "damaged").unwrap();
    let caption = run("caption", &data, "out");
    fixture.assert_fails(&caption, &["k2", "1 of 5 pictures"]);
    let record = file(&fixture, "out/figures.json");
    assert_eq!((&record["count"], &record["failed"]), (&json!(4), &json!(1)));
    assert_eq!(file(&fixture, "out/results.json").as_array().unwrap().len(), 4);
    fixture.assert_fails(
        &run("retrieval", &data, "ranks"),
        &["1 of 5 pictures", "ranks mean nothing"],
    );

    fs::copy(fixture.path("red.png"), fixture.path("photos/002.png")).unwrap();
    let record = evaluate(&fixture, "caption", &data, "out", &[]);
    assert_eq!(record["failed"], 0);
    // A picture that is not there is one that cannot be used, unless a filter leaves it out.
    fs::remove_file(fixture.path("photos/003.png")).unwrap();
    let gone = run("caption", &data, "gone");
    fixture.assert_fails(&gone, &["003.png", "1 of 5 pictures"]);
    fs::write(fixture.path("photos/words.txt"), "old dog\n").unwrap();
    let filtered = format!("{data}#list=photos/words.txt");
    let few = evaluate(&fixture, "caption", &filtered, "filtered", &["--limit", "3"]);
    assert_eq!(
        (&few["count"], &few["left_out"]),
        (&json!(2), &json!({"listed_word": 1}))
    );
    // A filter looks at the sample: what is missing then is left out by name.
    fixture.assert_fails(
        &run("caption", &filtered, "both"),
        &["003.png", "1 samples could not be read"],
    );
    assert_eq!(
        file(&fixture, "both/figures.json")["left_out"],
        json!({"listed_word": 1, "picture_missing": 1})
    );
    fixture.assert_fails(
        &run("retrieval", &filtered, "both-ranks"),
        &["1 samples could not be read", "ranks mean nothing"],
    );
    // The first samples alone.
    let few = evaluate(&fixture, "caption", &data, "few", &["--limit", "2"]);
    assert_eq!(few["count"], 2);
}

#[test]
fn what_was_found_stays_with_its_picture_where_another_comes_back() {
    let fixture = Fixture::new(Stages::Both);
    let data = format!("{}#list=photos/words.txt", listed(&fixture, 6));
    fs::write(fixture.path("photos/words.txt"), "nothing of this kind\n").unwrap();
    let (picture, away) = (fixture.path("photos/001.png"), fixture.path("away.png"));
    fs::rename(&picture, &away).unwrap();
    for task in ["perplexity", "caption"] {
        fixture.assert_fails(&run(task, &data, task), &["1 samples could not be read"]);
    }
    fs::rename(&away, &picture).unwrap();
    for task in ["perplexity", "caption"] {
        let again = evaluate(&fixture, task, &data, task, &[]);
        let fresh = evaluate(&fixture, task, &data, &format!("{task}-fresh"), &[]);
        assert_eq!(figures(&again), figures(&fresh), "{task}");
    }
    assert_eq!(
        file(&fixture, "caption/results.json"),
        file(&fixture, "caption-fresh/results.json")
    );
}

#[test]
fn what_one_part_found_outlives_what_another_could_not_use() {
    let fixture = Fixture::new(Stages::Both);
    let data = listed(&fixture, 4);
    fs::write(fixture.path("photos/001.png"), "damaged").unwrap();
    let part = [&run("caption", &data, "out")[..], &["--shard", "1/2", "--batch", "2"]].concat();
    fixture.stdout(&part);
    fs::copy(fixture.path("red.png"), fixture.path("photos/001.png")).unwrap();
    let batch = ["--batch", "2"];
    let whole = evaluate(&fixture, "caption", &data, "out", &batch);
    assert_eq!((&whole["count"], &whole["failed"]), (&json!(4), &json!(0)));
    assert_eq!(whole, evaluate(&fixture, "caption", &data, "out", &batch));
}

#[test]
fn a_question_without_answers_is_missed_and_an_answer_without_question_is_not() {
    let fixture = Fixture::new(Stages::Both);
    let expected: Value = serde_json::from_slice(&fs::read(golden("vqa/expected.json")).unwrap()).unwrap();
    let (annotations, questions) = expected["files"]
        .as_object()
        .unwrap()
        .iter()
        .find_map(|(file, own)| Some((golden(&format!("vqa/{file}")), own["questions"].as_str()?)))
        .unwrap();
    let questions = Path::new(&annotations).with_file_name(questions);
    let read = |file: &Path| -> Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
    let (mut questions, mut annotations) = (read(&questions), read(annotations.as_ref()));
    for list in [&mut questions["questions"], &mut annotations["annotations"]] {
        let list = list.as_array_mut().unwrap();
        list.sort_by_key(|one| one["question_id"].as_u64());
        list.truncate(3);
    }
    let asked = |out: &str, questions: &Value, annotations: &Value| {
        fs::write(fixture.path("questions.json"), questions.to_string()).unwrap();
        fs::write(fixture.path("annotations.json"), annotations.to_string()).unwrap();
        let data = format!(
            "vqav2:{}#annotations={},images={}",
            fixture.path("questions.json").display(),
            fixture.path("annotations.json").display(),
            golden("coco/images")
        );
        let output = fixture.run(&run("vqa", &data, out));
        let record = file(&fixture, &format!("{out}/figures.json"));
        (output.status.success(), record["failed"] == 0, record["left_out"].clone())
    };
    let mut fewer = annotations.clone();
    fewer["annotations"].as_array_mut().unwrap().pop();
    let (success, _, left_out) = asked("fewer", &questions, &fewer);
    assert_eq!((success, left_out), (false, json!({"no_answers": 1})));
    questions["questions"].as_array_mut().unwrap().pop();
    let (success, all_used, left_out) = asked("more", &questions, &annotations);
    assert_eq!((success, left_out), (all_used, json!({"question_not_listed": 1})));
}
