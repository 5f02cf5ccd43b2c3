//! Whole evaluations: official files in and out, breaks, parts, and what is said of them.

use std::fs;
use std::path::Path;

use blip2_golden::fixture;
use serde_json::{Value, json};

use crate::dataset::{killed, photos};
use crate::support::{Fixture, Stages, stderr};

pub(crate) const MODEL: [&str; 3] = ["evaluate", "--model", "model"];
/// Short texts, so that many pictures take a moment.
const SHORT: [&str; 4] = ["--num-beams", "2", "--max-new-tokens", "4"];

fn golden(path: &str) -> String {
    fixture("data").join(path).display().to_string()
}

pub(crate) fn file(fixture: &Fixture, path: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture.path(path)).unwrap()).unwrap()
}

/// The files of questions that the golden data tell of, by their paths, with what is expected of each.
fn asked() -> serde_json::Map<String, Value> {
    let expected: Value = serde_json::from_slice(&fs::read(golden("vqa/expected.json")).unwrap()).unwrap();
    expected["files"].as_object().unwrap().clone()
}

pub(crate) fn run<'a>(task: &'a str, data: &'a str, out: &'a str) -> Vec<&'a str> {
    [
        &MODEL[..],
        &["--task", task, "--data", data, "--out", out],
        &SHORT,
    ]
    .concat()
}

/// Evaluates, and gives back what `--json` says, which is what the folder holds.
pub(crate) fn evaluate(fixture: &Fixture, task: &str, data: &str, out: &str, more: &[&str]) -> Value {
    let records = fixture.records(&[&run(task, data, out)[..], more].concat());
    assert_eq!(records.len(), 1);
    assert_eq!(records[0], file(fixture, &format!("{out}/figures.json")));
    let page = fs::read_to_string(fixture.path(&format!("{out}/report.html"))).unwrap();
    assert!(page.contains("<title>") && !page.contains("http://"), "{out}");
    records[0].clone()
}

/// Photographs with a caption or two each, as JSON lines.
pub(crate) fn listed(fixture: &Fixture, count: u32) -> String {
    photos(fixture, count);
    // Words of the tiny vocabulary, a caption of its own for each picture.
    let (colours, things, places) = (
        ["red", "blue", "old", "short"],
        ["dog", "horse", "man", "table", "clock", "tower"],
        ["beach", "snow", "sky", "apples", "photo", "question", "answer"],
    );
    let caption = |number: usize| {
        let thing = things[number / 4 % 6];
        format!(
            "{} {thing} on the {}",
            colours[number % 4],
            places[number / 24 % 7]
        )
    };
    let line = |number: u32| {
        let mut captions = vec![caption(number as usize)];
        if number.is_multiple_of(3) {
            captions.push(format!(
                "this is the {} under two wooden horses",
                caption(number as usize)
            ));
        }
        json!({"image": format!("{number:03}.png"), "id": format!("k{number}"), "caption": captions})
            .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    fs::write(fixture.path("photos/list.jsonl"), lines.join("\n")).unwrap();
    "jsonl:photos/list.jsonl".to_owned()
}

#[test]
fn answers_to_vqav2_and_okvqa_are_judged_as_by_the_official_scorer() {
    let fixture = Fixture::new(Stages::Both);
    let mut proved = 0;
    for (file_name, expected) in asked() {
        let Some(questions) = expected["questions"].as_str() else {
            continue;
        };
        let annotations = golden(&format!("vqa/{file_name}"));
        let folder = Path::new(&annotations).parent().unwrap().join(questions);
        // The official files tell of which kind each question is; of these the form alone counts here.
        let mut content: Value = serde_json::from_slice(&fs::read(&annotations).unwrap()).unwrap();
        for (place, one) in content["annotations"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .enumerate()
        {
            one["question_type"] = json!(["what is", "how many"][place % 2]);
            one["answer_type"] = json!(["other", "number", "yes/no"][place % 3]);
        }
        let annotations = "annotations.json";
        fs::write(fixture.path(annotations), content.to_string()).unwrap();
        for set in ["vqav2", "okvqa"] {
            let data = format!(
                "{set}:{}#annotations={annotations},images={}",
                folder.display(),
                golden("coco/images")
            );
            let out = format!("{set}-{proved}");
            let output = fixture.run(&run("vqa", &data, &out));
            let figures = file(&fixture, &format!("{out}/figures.json"));
            // A picture that is missing is counted, and the only reason to fail.
            let failed = figures["failed"].as_u64().unwrap();
            assert_eq!(output.status.success(), failed == 0, "{}", stderr(&output));
            let results = file(&fixture, &format!("{out}/results.json"));
            let results = results.as_array().unwrap();
            assert_eq!(results.len() as u64, figures["count"].as_u64().unwrap());
            assert!(!results.is_empty());
            for result in results {
                assert!(
                    result["question_id"].is_i64() && result["answer"].is_string(),
                    "{result}"
                );
            }
            let path = format!("{out}/results.json");
            let official = &fixture.records(&[
                "score",
                "--task",
                "vqa",
                &path,
                "--annotations",
                annotations,
                "--subset",
            ])[0];
            assert_eq!(official["overall"], figures["figures"]["overall"]);
            for (kind, figure) in official["perAnswerType"].as_object().unwrap() {
                assert_eq!(figure, &figures["figures"][format!("answers: {kind}")]);
            }
            for (kind, figure) in official["perQuestionType"].as_object().unwrap() {
                assert_eq!(figure, &figures["figures"][format!("questions: {kind}")]);
            }
            proved += 1;
        }
    }
    assert!(proved > 0, "there are no annotations with questions");
}

#[test]
fn answers_to_gqa_are_right_or_wrong_and_keep_their_ids() {
    let fixture = Fixture::new(Stages::Both);
    let all = asked();
    let file_name = all.keys().find(|name| name.starts_with("gqa/")).unwrap();
    let path = golden(&format!("vqa/{file_name}"));
    let asked: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let data = format!("gqa:{path}#images={}", golden("vqa/gqa/images"));
    let output = fixture.run(&run("vqa", &data, "gqa"));
    let (figures, results) = (
        file(&fixture, "gqa/figures.json"),
        file(&fixture, "gqa/results.json"),
    );
    let failed = figures["failed"].as_u64().unwrap();
    assert_eq!(output.status.success(), failed == 0, "{}", stderr(&output));
    let results = results.as_array().unwrap();
    assert_eq!(
        results.len() as u64 + failed,
        asked.as_object().unwrap().len() as u64
    );
    for result in results {
        assert!(
            asked[result["questionId"].as_str().unwrap()].is_object(),
            "{result}"
        );
        assert!(result["prediction"].is_string());
    }
    // Asked for what it says, the model is right.
    let mut easy = asked.clone();
    for result in results {
        easy[result["questionId"].as_str().unwrap()]["answer"] = result["prediction"].clone();
    }
    fs::write(fixture.path("easy.json"), easy.to_string()).unwrap();
    let data = format!("gqa:easy.json#images={}", golden("vqa/gqa/images"));
    fixture.run(&run("vqa", &data, "easy"));
    let figures = file(&fixture, "easy/figures.json")["figures"].clone();
    assert_eq!(figures["overall"], 100.0);
    let kinds = figures.as_object().unwrap().keys();
    let of = |what: &str| kinds.clone().filter(|kind| kind.starts_with(what)).count();
    assert!(of("answers: ") > 0 && of("questions: ") > 0, "{figures}");
}

#[test]
fn questions_with_one_answer_are_right_or_wrong_and_equal_keys_are_two_pictures() {
    let fixture = Fixture::new(Stages::Both);
    let listed = |name: &str, picture: &str, answer: &str| {
        let line = json!({"image": picture, "question": "What is this?", "answer": answer});
        fs::write(fixture.path(name), line.to_string()).unwrap();
    };
    listed("one.jsonl", "red.png", "a dog");
    listed("two.jsonl", "blue.png", "a dog");
    let data = "jsonl:{one,two}.jsonl#images=.";
    let judged = |out: &str| evaluate(&fixture, "vqa", data, out, &[])["figures"]["overall"].clone();
    assert_eq!(judged("first"), 0.0);
    // Asked for what it says, the model is right: one answer needs nobody who agrees.
    let results = file(&fixture, "first/results.json");
    for (name, picture, result) in [("one.jsonl", "red.png", 0), ("two.jsonl", "blue.png", 1)] {
        listed(name, picture, results[result]["prediction"].as_str().unwrap());
    }
    assert_eq!(judged("easy"), 100.0);
    let told = fixture.run(&[&run("vqa", data, "agreed")[..], &["--protocol", "vqav2"]].concat());
    assert!(
        !told.status.success() && stderr(&told).contains("--protocol gqa"),
        "{}",
        stderr(&told)
    );

    for (name, picture) in [("one.jsonl", "red.png"), ("two.jsonl", "blue.png")] {
        let line = json!({"image": picture, "caption": "a dog"});
        fs::write(fixture.path(name), line.to_string()).unwrap();
    }
    evaluate(&fixture, "caption", data, "written", &[]);
    assert_eq!(
        file(&fixture, "written/results.json").as_array().unwrap().len(),
        2
    );
}

#[test]
fn captions_of_a_list_of_names_have_the_numbers_of_coco() {
    let fixture = Fixture::new(Stages::Both);
    fs::create_dir_all(fixture.path("val2014")).unwrap();
    fs::copy(
        fixture.path("red.png"),
        fixture.path("val2014/COCO_val2014_000000343302.png"),
    )
    .unwrap();
    let list = json!([{"image": "val2014/COCO_val2014_000000343302.png", "caption": ["a dog"]}]);
    fs::write(fixture.path("coco_karpathy_test.json"), list.to_string()).unwrap();
    evaluate(
        &fixture,
        "caption",
        "lavis:coco_karpathy_test.json#images=.",
        "coco",
        &[],
    );
    assert_eq!(file(&fixture, "coco/results.json")[0]["image_id"], 343_302);
}

#[test]
fn what_cannot_be_answered_is_kept_apart_and_a_test_part_is_only_sent_in() {
    let fixture = Fixture::new(Stages::Both);
    let people = |answer: &str| vec![json!({"answer": answer, "answer_confidence": "yes"}); 10];
    let entries = json!([
        {"image": "red.png", "question": "What is this?", "answers": people("unanswerable"), "answerable": 0},
        {"image": "blue.png", "question": "What colour?", "answers": people("blue"), "answerable": 1},
    ]);
    fs::write(fixture.path("val.json"), entries.to_string()).unwrap();
    let figures = evaluate(&fixture, "vqa", "vizwiz:val.json", "val", &[])["figures"].clone();
    let names: Vec<&String> = figures.as_object().unwrap().keys().collect();
    for name in [
        "overall",
        "answerable",
        "unanswerable",
        "answers: unanswerable",
        "answers: other",
    ] {
        assert!(names.iter().any(|own| *own == name), "{names:?}");
    }
    let results = file(&fixture, "val/results.json");
    assert_eq!(results[1]["image"], "blue.png");

    let test = json!([{"image": "red.png", "question": "What is this?"}]);
    fs::write(fixture.path("test.json"), test.to_string()).unwrap();
    let record = evaluate(&fixture, "vqa", "vizwiz:test.json", "test", &[]);
    assert_eq!(record["figures"], json!({}));
    assert!(
        record["not_measured"]["accuracy"]
            .as_str()
            .unwrap()
            .contains("server")
    );
    assert_eq!(file(&fixture, "test/results.json").as_array().unwrap().len(), 1);
}

#[test]
fn captions_of_nocaps_are_scored_by_domain_and_in_the_official_form() {
    let fixture = Fixture::new(Stages::Both);
    let annotations = golden("nocaps/annotations/nocaps_val_4500_captions.json");
    let data = format!("nocaps:{annotations}#images={}", golden("nocaps/images/val"));
    let output = fixture.run(&run("caption", &data, "nocaps"));
    let record = file(&fixture, "nocaps/figures.json");
    assert_eq!(
        output.status.success(),
        record["failed"] == 0,
        "{}",
        stderr(&output)
    );
    let figures = record["figures"].as_object().unwrap();
    let content: Value = serde_json::from_slice(&fs::read(&annotations).unwrap()).unwrap();
    for image in content["images"].as_array().unwrap() {
        let name = format!("{}: CIDEr", image["domain"].as_str().unwrap());
        assert!(figures.contains_key(&name), "{name} is not among {figures:?}");
    }
    let official = &fixture.records(&[
        "score",
        "--task",
        "coco-caption",
        "nocaps/results.json",
        "--annotations",
        &annotations,
        "--subset",
    ])[0];
    for name in ["Bleu_1", "Bleu_4", "ROUGE_L", "CIDEr"] {
        assert_eq!(official[name], figures[name], "{name}");
    }
    assert!(record["not_measured"]["SPICE"].is_string());
    let page = fs::read_to_string(fixture.path("nocaps/report.html")).unwrap();
    for part in ["data:image/png;base64,", "worst", "best", "query 1", "CIDEr"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn retrieval_by_contrast_is_that_of_all_matches() {
    let fixture = Fixture::new(Stages::First);
    let data = listed(&fixture, 7);
    let record = evaluate(
        &fixture,
        "retrieval",
        &data,
        "contrast",
        &["--k", "0", "--batch", "3"],
    );
    let lines = fs::read_to_string(fixture.path("photos/list.jsonl")).unwrap();
    let entries: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (mut texts, mut image_of) = (Vec::new(), Vec::new());
    for (image, entry) in entries.iter().enumerate() {
        for caption in entry["caption"].as_array().unwrap() {
            texts.push(caption.as_str().unwrap());
            image_of.push(image);
        }
    }
    let mut hits = 0;
    for (image, entry) in entries.iter().enumerate() {
        let picture = format!("photos/{}", entry["image"].as_str().unwrap());
        let asked = [&["match", "--model", "model", &picture, "--text"], &texts[..]].concat();
        let scores: Vec<f64> = fixture
            .records(&asked)
            .iter()
            .map(|record| record["itc"].as_f64().unwrap())
            .collect();
        let best = (0..texts.len()).max_by(|one, other| scores[*one].total_cmp(&scores[*other]));
        hits += usize::from(image_of[best.unwrap()] == image);
    }
    let expected = 100.0 * hits as f64 / entries.len() as f64;
    assert!(
        (record["figures"]["txt_r1"].as_f64().unwrap() - expected).abs() < 1e-9,
        "{record}"
    );

    let matched = evaluate(&fixture, "retrieval", &data, "matched", &["--batch", "3"]);
    assert_eq!(matched["figures"].as_object().unwrap().len(), 10);
    assert_eq!(matched["figures"]["img_r10"], 100.0);
    // Without captions there is nothing to retrieve.
    let bare = run("retrieval", "folder:photos", "bare");
    fixture.assert_fails(&bare, &["no captions"]);
}

#[test]
fn an_evaluation_that_was_killed_ends_as_an_unbroken_one() {
    let fixture = Fixture::new(Stages::Both);
    let data = listed(&fixture, 160);
    let mut kills = 0;
    for (task, lines, files) in [
        ("caption", "captions", vec!["figures.json", "results.json"]),
        ("retrieval", "matches", vec!["figures.json"]),
        ("perplexity", "costs", vec!["figures.json"]),
    ] {
        let (whole, broken) = (format!("{task}-whole"), format!("{task}-broken"));
        let more = ["--batch", "4", "--k", "5"];
        fixture.stdout(&[&run(task, &data, &whole)[..], &more].concat());
        let again = [&run(task, &data, &broken)[..], &more].concat();
        let journal = format!("{broken}/{lines}-1-of-1.jsonl");
        for enough in [1, 80] {
            kills += usize::from(killed(&fixture, &again, &journal, enough));
            // As if it had been killed in the middle of a line.
            let text = fs::read(fixture.path(&journal)).unwrap();
            fs::write(fixture.path(&journal), &text[..text.len() - 9]).unwrap();
        }
        fixture.stdout(&again);
        for name in files {
            let read = |folder: &str| fs::read_to_string(fixture.path(&format!("{folder}/{name}"))).unwrap();
            assert_eq!(read(&broken), read(&whole), "{task}");
        }
    }
    assert!(kills > 0, "each run was over before it could be killed");
}

#[test]
fn parts_write_what_the_whole_writes() {
    let fixture = Fixture::new(Stages::Both);
    let data = listed(&fixture, 22);
    for task in ["caption", "retrieval"] {
        let (whole, parts) = (format!("{task}-whole"), format!("{task}-parts"));
        let more = ["--batch", "4", "--k", "3"];
        fixture.stdout(&[&run(task, &data, &whole)[..], &more].concat());
        // Retrieval matches once all pictures are embedded; the last part finds that they are.
        let again: &[&str] = if task == "retrieval" { &["1/3", "2/3"] } else { &[] };
        for part in ["1/3", "2/3", "3/3"].iter().chain(again) {
            assert!(
                !fixture.path(&format!("{parts}/figures.json")).exists(),
                "{task} was measured before part {part}"
            );
            fixture.stdout(&[&run(task, &data, &parts)[..], &more, &["--shard", part]].concat());
        }
        let figures = |folder: &str| file(&fixture, &format!("{folder}/figures.json"));
        assert_eq!(figures(&parts), figures(&whole), "{task}");
    }
}

#[test]
fn what_was_begun_otherwise_is_not_gone_on_with() {
    let fixture = Fixture::new(Stages::Both);
    let data = listed(&fixture, 3);
    fixture.stdout(&run("caption", &data, "out"));
    let other = [&run("caption", &data, "out")[..], &["--prompt", "w3"]].concat();
    fixture.assert_fails(&other, &["out was begun with another `prompt`", "--out"]);
    fixture.assert_fails(&run("perplexity", &data, "out"), &["another `task`"]);
    fs::write(fixture.path("out/captions-1-of-1.jsonl"), "something else\n").unwrap();
    fixture.assert_fails(
        &run("caption", &data, "out"),
        &["line 1 of out/captions-1-of-1.jsonl"],
    );
    for wrong in [
        vec!["--protocol", "gqa"],
        vec!["--shard", "4/3"],
        vec!["--num-beams", "0"],
    ] {
        let output = fixture.run(
            &[
                &MODEL[..],
                &["--task", "caption", "--data", &data, "--out", "x"],
                &wrong,
            ]
            .concat(),
        );
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", stderr(&output));
    }
    let asked = fixture.run(&[&run("vqa", &data, "x")[..], &["--prompt", "why?"]].concat());
    assert_eq!(asked.status.code(), Some(2));
    fixture.assert_fails(&run("vqa", &data, "x"), &["no question"]);
    let first = Fixture::new(Stages::First);
    let data = listed(&first, 2);
    first.assert_fails(&run("caption", &data, "x"), &["stage 2"]);
}
