//! Evaluations of data that is damaged, or was mended between two runs: what is missing is said, and what was found stays that of
//! its picture.

use std::fs;

use serde_json::{Value, json};

use crate::evaluate::{evaluate, file, listed, run};
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
    let part = [
        &run("caption", &data, "out")[..],
        &["--shard", "1/2", "--batch", "2"],
    ]
    .concat();
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
    fs::create_dir_all(fixture.path("coco/val2014")).unwrap();
    let picture = fixture.path("coco/val2014/COCO_val2014_000000000001.jpg");
    fs::copy(fixture.path("red.png"), picture).unwrap();
    let asked = |out: &str, questions: &[u32], answered: &[u32]| {
        let question = |id: &u32| json!({"question_id": id, "image_id": 1, "question": "what is this?"});
        let answers: Vec<Value> = (1..=10)
            .map(|id| json!({"answer": "dog", "answer_confidence": "yes", "answer_id": id}))
            .collect();
        let annotation = |id: &u32| {
            json!({"question_id": id, "image_id": 1, "question_type": "what is", "answer_type": "other",
                   "multiple_choice_answer": "dog", "answers": answers})
        };
        let questions: Vec<Value> = questions.iter().map(question).collect();
        let annotations: Vec<Value> = answered.iter().map(annotation).collect();
        let files = [
            (
                "questions.json",
                json!({"data_subtype": "val2014", "questions": questions}),
            ),
            ("annotations.json", json!({"annotations": annotations})),
        ];
        for (name, content) in files {
            fs::write(fixture.path(name), content.to_string()).unwrap();
        }
        let data = "vqav2:questions.json#annotations=annotations.json,images=coco";
        let output = fixture.run(&run("vqa", data, out));
        let record = file(&fixture, &format!("{out}/figures.json"));
        (
            output.status.success(),
            record["count"].clone(),
            record["left_out"].clone(),
        )
    };
    assert_eq!(asked("all", &[1, 2], &[1, 2]), (true, json!(2), json!({})));
    assert_eq!(
        asked("fewer-answers", &[1, 2], &[1]),
        (false, json!(1), json!({"no_answers": 1}))
    );
    assert_eq!(
        asked("fewer-questions", &[1], &[1, 2]),
        (true, json!(1), json!({"question_not_listed": 1}))
    );
}
