//! Files of the official tasks: what is read of them, and what is refused.

use std::collections::HashMap;

use blip2_evaluation::official::{Coverage, Document, Id, OfficialError, caption_task, vqa_task};
use blip2_golden::{Check, each, find, root};
use serde_json::{Value, json};

const CAPTIONS: &str = r#"{"info": {}, "images": [{"id": 7}], "annotations": [
    {"id": 1, "image_id": 7, "caption": "a dog"}, {"id": 2, "image_id": 9, "caption": "two cats"},
    {"id": 3, "image_id": 7, "caption": "the dog"}]}"#;

fn document<'a>(name: &'a str, content: &'a [u8]) -> Document<'a> {
    Document { name, content }
}

fn captions(results: &Value, coverage: Coverage) -> Result<Vec<(Id, String, Vec<String>)>, String> {
    let results = results.to_string();
    let (results, annotations) = (
        document("r.json", results.as_bytes()),
        document("a.json", CAPTIONS.as_bytes()),
    );
    let task = caption_task(results, annotations, coverage).map_err(|error| error.to_string())?;
    let images = task
        .images
        .into_iter()
        .map(|image| (image.candidate, image.references));
    Ok(task
        .ids
        .into_iter()
        .zip(images)
        .map(|(id, (candidate, references))| (id, candidate, references))
        .collect())
}

/// LAVIS's `*_gt.json` of COCO: captions of people by image, in the order of the file.
#[test]
fn golden_ground_truth_is_read_as_pycocotools_reads_it() {
    if !root().join("data/coco").exists() {
        return;
    }
    let expected = blip2_golden::json("data/coco/expected.json").expect("just seen");
    let files = expected["files"].as_object().expect("files");
    each(
        files.iter().filter(|(_, file)| file["captions"].is_object()),
        |(file, expected)| {
            let path = format!("data/coco/annotations/{file}");
            let content = std::fs::read(find(&path).expect("the folder has its files")).expect("a file");
            let expected = expected["captions"].as_object().expect("captions by image");
            let number = |id: &String| id.parse::<i64>().expect("a number");
            let results: Vec<Value> = expected
                .keys()
                .map(|id| json!({"image_id": number(id), "caption": "a dog"}))
                .collect();
            let results = Value::from(results).to_string();
            let (results, annotations) = (document("r.json", results.as_bytes()), document(&path, &content));
            let task = caption_task(results, annotations, Coverage::All).expect("captions of each image");
            let mut check = Check::new(&path);
            let theirs: HashMap<Id, Value> = expected
                .iter()
                .map(|(id, texts)| (Id::Number(number(id)), texts.clone()))
                .collect();
            let theirs: Vec<Value> = task.ids.iter().map(|id| theirs[id].clone()).collect();
            let ours: Vec<Value> = task
                .images
                .iter()
                .map(|image| Value::from(image.references.clone()))
                .collect();
            check.identical("captions", &ours, &theirs);
            check.identical("images", &[task.ids.len()], &[expected.len()]);
        },
    );
}

#[test]
fn captions_are_joined_by_image_in_the_order_of_the_annotations() {
    let results = json!([{"image_id": 9, "caption": "cats", "score": 1}, {"image_id": 7, "caption": "dog"}]);
    let of = |id, candidate: &str, references: &[&str]| {
        (
            Id::Number(id),
            candidate.to_owned(),
            references.iter().map(|&text| text.to_owned()).collect(),
        )
    };
    let dog = of(7, "dog", &["a dog", "the dog"]);
    assert_eq!(
        captions(&results, Coverage::All),
        Ok(vec![dog.clone(), of(9, "cats", &["two cats"])])
    );
    let one = json!([{"image_id": 7, "caption": "dog"}]);
    assert_eq!(captions(&one, Coverage::Subset), Ok(vec![dog]));
}

#[test]
fn what_does_not_go_together_is_named_by_file_entry_and_id() {
    let (dog, cats) = (
        json!({"image_id": 7, "caption": "d"}),
        json!({"image_id": 9, "caption": "c"}),
    );
    for (results, parts) in [
        (
            json!([dog]),
            &[
                "r.json",
                "lacks 1 of the 2 images of a.json",
                "image 9",
                "--subset",
            ][..],
        ),
        (json!([dog, cats, dog]), &["r.json", "entries 0 and 2", "image 7"]),
        (
            json!([dog, cats, {"image_id": 8, "caption": "x"}]),
            &["r.json", "entry 2", "image 8", "a.json"],
        ),
        (
            json!([dog, cats, {"image_id": "7", "caption": "x"}]),
            &["entry 2", "image `7`"],
        ),
        (
            json!([dog, {"image_id": 9}]),
            &["r.json", "[1]", "missing field `caption`"],
        ),
        (
            json!([dog, {"image_id": 9, "caption": 3}]),
            &["r.json", "[1].caption", "invalid type: integer `3`"],
        ),
        (
            json!([dog, {"image_id": 1.5, "caption": ""}]),
            &["r.json", "[1].image_id", "a whole number or a text"],
        ),
        (json!({"7": "dog"}), &["r.json", "expected a sequence"]),
    ] {
        let message = captions(&results, Coverage::All).unwrap_err();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not said: {message}");
        }
    }
    let broken = caption_task(
        document("r.json", b"[] x"),
        document("a.json", b"{}"),
        Coverage::All,
    );
    assert!(
        matches!(broken, Err(OfficialError::Format { ref file, .. }) if file == "r.json"),
        "{broken:?}"
    );
    let swapped = caption_task(
        document("r.json", b"[]"),
        document("a.json", b"[]"),
        Coverage::All,
    );
    assert!(
        matches!(swapped, Err(OfficialError::Format { ref file, .. }) if file == "a.json"),
        "{swapped:?}"
    );
}

#[test]
fn answers_are_joined_by_question() {
    let annotation = |id: i64, answers: Value| {
        json!({"question_id": id, "image_id": 1, "question_type": "is the", "answer_type": "other",
               "multiple_choice_answer": "x", "answers": answers})
    };
    let read = |annotations: Value, results: Value, coverage| {
        let (annotations, results) = (
            json!({"annotations": annotations}).to_string(),
            results.to_string(),
        );
        vqa_task(
            document("r.json", results.as_bytes()),
            document("a.json", annotations.as_bytes()),
            coverage,
        )
    };
    let answers =
        json!([{"answer": "red", "answer_confidence": "maybe", "answer_id": 1}, {"answer": "blue"}]);
    let both = json!([annotation(5, answers.clone()), annotation(6, answers.clone())]);
    let task = read(
        both.clone(),
        json!([{"question_id": 6, "answer": "red"}]),
        Coverage::Subset,
    )
    .unwrap();
    assert_eq!(
        (task.ids, task.predictions),
        (vec![Id::Number(6)], vec!["red".to_owned()])
    );
    assert_eq!(task.questions[0].answers[1].answer, "blue");
    for (annotations, results, parts) in [
        (
            both.clone(),
            json!([{"question_id": 6, "answer": "red"}]),
            ["lacks 1 of the 2 questions", "question 5"],
        ),
        (
            both.clone(),
            json!([{"question_id": 6, "answer": null}]),
            ["[0].answer", "invalid type: null"],
        ),
        (
            json!([annotation(5, json!([]))]),
            json!([]),
            ["a.json: entry 0, question 5", "no answers"],
        ),
        (
            json!([annotation(5, json!([{"answer": 1}]))]),
            json!([]),
            ["a.json", "annotations[0].answers[0].answer"],
        ),
        (
            json!([annotation(5, answers.clone()), annotation(5, answers)]),
            json!([]),
            ["a.json: entries 0 and 1", "question 5"],
        ),
    ] {
        let message = read(annotations, results, Coverage::All).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "`{part}` is not said: {message}");
        }
    }
}
