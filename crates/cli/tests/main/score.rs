//! `blip2 score` on files in the official forms, against the reference's figures.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use blip2_golden::fixture;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::stderr;

fn golden(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture(&format!("metrics/{name}.json"))).unwrap()).unwrap()
}

/// A folder with `results.json` and `annotations.json`.
fn files(results: &Value, annotations: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("results.json"), results.to_string()).unwrap();
    fs::write(folder.path().join("annotations.json"), annotations.to_string()).unwrap();
    folder
}

fn score(folder: &Path, task: &str, more: &[&str]) -> Output {
    let arguments = [
        "score",
        "--task",
        task,
        "results.json",
        "--annotations",
        "annotations.json",
    ];
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .args(more)
        .current_dir(folder)
        .env_remove("BLIP2_METEOR_JAR")
        .env_remove("BLIP2_SPICE_JAR")
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn records(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn assert_fails(output: &Output, parts: &[&str]) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not said: {message}");
    }
}

fn assert_close(actual: &Value, expected: &Value, what: &str) {
    let (actual, expected) = (actual.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!(
        (actual - expected).abs() < 1e-6,
        "{what}: {actual}, not {expected}"
    );
}

/// The reference's captions as the official files would hold them.
fn captions(golden: &Value) -> (Value, Value) {
    let (mut results, mut annotations) = (Vec::new(), Vec::new());
    // In the reference's order, which its figures by image are in.
    for image in 0..golden["candidates"].as_object().unwrap().len() {
        let key = image.to_string();
        results.push(json!({"image_id": image, "caption": golden["candidates"][&key][0]}));
        for caption in golden["references"][&key].as_array().unwrap() {
            annotations.push(json!({"image_id": image, "id": annotations.len(), "caption": caption}));
        }
    }
    results.reverse();
    let images: Vec<_> = (0..results.len()).map(|image| json!({"id": image})).collect();
    (
        Value::from(results),
        json!({"images": images, "annotations": annotations}),
    )
}

#[test]
fn captions_get_the_figures_of_the_official_scorer() {
    let golden = golden("captions");
    let (results, annotations) = captions(&golden);
    let folder = files(&results, &annotations);
    let mut lines = records(&score(folder.path(), "coco-caption", &["--json", "--each"]));
    let total = lines.pop().unwrap();
    assert_eq!(total["images"], results.as_array().unwrap().len());
    for name in ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"] {
        assert_close(&total[name], &golden["scores"][name], name);
    }
    for name in ["Bleu_4", "ROUGE_L", "CIDEr"] {
        for (image, line) in lines.iter().enumerate() {
            assert_eq!(line["image_id"], image);
            assert_close(&line[name], &golden["per_image"][name][image], name);
        }
    }
    assert!(
        total["METEOR"].is_null()
            && total["not_measured"]["METEOR"]
                .as_str()
                .unwrap()
                .contains("--meteor")
    );
    let table = stdout(&score(folder.path(), "coco-caption", &[]));
    let bleu = format!("Bleu_4  {:8.4}", golden["scores"]["Bleu_4"].as_f64().unwrap());
    assert!(
        table.contains(&bleu) && table.contains("SPICE was not measured"),
        "{table}"
    );
    let each = stdout(&score(folder.path(), "coco-caption", &["--each"]));
    assert_eq!(each.lines().count(), table.lines().count() + lines.len() + 1);
}

#[test]
fn answers_get_the_figures_of_the_official_scorer() {
    let golden = golden("vqa");
    let folder = files(&golden["results"], &json!({"annotations": golden["annotations"]}));
    let mut lines = records(&score(folder.path(), "vqa", &["--json", "--each"]));
    let total = lines.pop().unwrap();
    for name in ["overall", "perQuestionType", "perAnswerType"] {
        assert_eq!(total[name], golden["accuracy"][name], "{name}");
    }
    assert_eq!(total["questions"], lines.len());
    for line in &lines {
        let question = line["question_id"].to_string();
        assert_eq!(line["accuracy"], golden["per_question"][&question], "{question}");
    }
    let table = stdout(&score(folder.path(), "vqa", &[]));
    assert!(
        table.starts_with(&format!(
            "{:6.2}  overall",
            golden["accuracy"]["overall"].as_f64().unwrap()
        )),
        "{table}"
    );
}

#[test]
fn a_subset_is_scored_only_where_that_is_asked_for() {
    let (results, annotations) = captions(&golden("captions"));
    let some = Value::from(results.as_array().unwrap()[..30].to_vec());
    let folder = files(&some, &annotations);
    assert_fails(
        &score(folder.path(), "coco-caption", &[]),
        &["results.json lacks", "annotations.json", "--subset"],
    );
    let total = records(&score(folder.path(), "coco-caption", &["--json", "--subset"]));
    assert_eq!(total[0]["images"], 30);
}

#[test]
fn what_is_wrong_is_named_by_file_entry_and_id() {
    let annotations = json!({"annotations": [{"image_id": 7, "caption": "a dog"}]});
    for (results, parts) in [
        (
            json!([{"image_id": 7, "caption": 5}]),
            &["results.json", "[0].caption"][..],
        ),
        (
            json!([{"image_id": 7, "caption": ""}, {"image_id": 7, "caption": ""}]),
            &["results.json", "0 and 1", "image 7"],
        ),
        (
            json!([{"image_id": 7, "caption": ""}, {"image_id": 8, "caption": ""}]),
            &["entry 1", "image 8"],
        ),
    ] {
        let folder = files(&results, &annotations);
        assert_fails(&score(folder.path(), "coco-caption", &[]), parts);
    }
    let folder = files(&json!([{"image_id": 7, "caption": "a dog"}]), &annotations);
    assert_fails(
        &score(folder.path(), "vqa", &[]),
        &["results.json", "[0]", "missing field `question_id`"],
    );
    assert_fails(
        &score(folder.path(), "coco-caption", &["--meteor", "nowhere.jar"]),
        &["cannot measure METEOR", "nowhere.jar"],
    );
    let output = score(folder.path(), "vqa", &["--spice", "nowhere.jar"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    fs::remove_file(folder.path().join("results.json")).unwrap();
    assert_fails(&score(folder.path(), "vqa", &[]), &["cannot read results.json"]);
}
