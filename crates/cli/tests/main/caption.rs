//! Text about pictures.

use serde_json::Value;

use crate::support::{Fixture, Stages, number, word};

const BOTH: [&str; 5] = ["caption", "--model", "model", "red.png", "blue.png"];

fn ids(record: &Value) -> Vec<usize> {
    record["ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as usize)
        .collect()
}

#[test]
fn a_record_tells_picture_prompt_text_ids_and_score() {
    let fixture = Fixture::new(Stages::Both);
    let records = fixture.records(&BOTH);
    let end = number(&fixture.path("home/language-model/config.json"), "eos_token_id");
    assert_eq!(records.len(), 2);
    for (record, image) in records.iter().zip(["red.png", "blue.png"]) {
        assert_eq!(record["image"], image);
        assert_eq!(
            record["prompt"],
            fixture.config.language_model.as_ref().unwrap().prompt
        );
        let ids = ids(record);
        assert!(!ids.is_empty() && ids.len() <= 30, "{record}");
        assert!(record["score"].as_f64().unwrap() < 0.0, "{record}");
        let text = record["text"].as_str().unwrap();
        let words: Vec<String> = ids.iter().map(|id| word(*id)).collect();
        assert_eq!(
            text,
            words.join(" "),
            "ids and text differ (end of text is {end})"
        );
    }
    assert_ne!(ids(&records[0]), ids(&records[1]), "the pictures do not count");
}

#[test]
fn the_same_command_writes_the_same_text_twice() {
    let fixture = Fixture::new(Stages::Both);
    for extra in [&[][..], &["--top-p", "0.9", "--seed", "4"]] {
        let arguments = [&BOTH[..], extra].concat();
        assert_eq!(fixture.stdout(&arguments), fixture.stdout(&arguments));
    }
}

#[test]
fn a_picture_gets_the_same_text_alone_and_in_a_batch() {
    let fixture = Fixture::new(Stages::Both);
    for by in ["language-model", "qformer"] {
        let options = ["--by", by];
        let together = fixture.records(&[&BOTH[..], &options].concat());
        let batches = fixture.records(&[&BOTH[..], &options, &["--batch-size", "1"]].concat());
        for (record, image) in together.iter().zip(["red.png", "blue.png"]) {
            let alone =
                &fixture.records(&[&["caption", "--model", "model", image][..], &options].concat())[0];
            let apart = batches.iter().find(|record| record["image"] == image).unwrap();
            assert_eq!(alone, apart);
            assert_eq!(ids(record), ids(alone), "{by}");
            let (a, b) = (
                record["score"].as_f64().unwrap(),
                alone["score"].as_f64().unwrap(),
            );
            assert!((a - b).abs() < 1e-4, "{by}: {a} and {b}");
        }
    }
}

#[test]
fn one_picture_prints_its_text_several_print_their_names_too() {
    let fixture = Fixture::new(Stages::Both);
    let alone = fixture.stdout(&["caption", "--model", "model", "red.png"]);
    let both = fixture.stdout(&BOTH);
    assert_eq!(
        both.lines().next().unwrap(),
        format!("red.png: {}", alone.trim_end())
    );
    assert_eq!(both.lines().count(), 2);
}

#[test]
fn every_option_of_writing_has_its_effect() {
    let fixture = Fixture::new(Stages::Both);
    let write = |extra: &[&str]| {
        let base = ["caption", "--model", "model", "red.png"];
        ids(&fixture.records(&[&base[..], extra].concat())[0])
    };
    let greedy = write(&["--num-beams", "1"]);
    let short = write(&["--num-beams", "1", "--max-new-tokens", "1"]);
    assert_eq!(short, greedy[..1]);
    assert!(write(&["--min-length", "9"]).len() >= 9);
    let distinct = |ids: &[usize]| ids.iter().collect::<std::collections::BTreeSet<_>>().len();
    let penalised = write(&[
        "--num-beams",
        "1",
        "--repetition-penalty",
        "1000",
        "--min-length",
        "12",
    ]);
    assert_eq!(distinct(&penalised), penalised.len(), "{penalised:?}");
    let unrepeated = write(&[
        "--num-beams",
        "1",
        "--no-repeat-ngram-size",
        "1",
        "--min-length",
        "12",
    ]);
    assert_eq!(distinct(&unrepeated), unrepeated.len(), "{unrepeated:?}");
    assert_eq!(
        write(&["--top-k", "1"]),
        greedy,
        "the likeliest of one token is the likeliest"
    );
    let draws: Vec<_> = ["1", "2", "3", "4"]
        .map(|seed| write(&["--temperature", "3", "--seed", seed]))
        .into();
    assert!(
        draws.iter().any(|draw| *draw != draws[0]),
        "four seeds drew the same text: {draws:?}"
    );
    assert_ne!(
        write(&["--prompt", &word(20)]),
        write(&["--prompt", &word(40)]),
        "the prompt does not count"
    );
}

#[test]
fn length_penalty_divides_the_score() {
    let fixture = Fixture::new(Stages::Both);
    let write = |penalty: &str| {
        let arguments = [
            "caption",
            "--model",
            "model",
            "red.png",
            "--num-beams",
            "1",
            "--length-penalty",
            penalty,
        ];
        let record = fixture.records(&arguments).remove(0);
        (ids(&record).len() as f64, record["score"].as_f64().unwrap())
    };
    let ((length, plain), (_, divided), (_, multiplied)) = (write("0"), write("1"), write("-1"));
    assert!((plain / length - divided).abs() < 1e-6 * plain.abs());
    assert!((plain * length - multiplied).abs() < 1e-6 * multiplied.abs());
}

#[test]
fn a_run_folder_is_as_good_as_its_model_folder() {
    let fixture = Fixture::new(Stages::Both);
    fixture.save("run/model", Stages::Both);
    let caption = |model: &str| fixture.stdout(&["caption", "--model", model, "red.png"]);
    assert_eq!(caption("run"), caption("model"));
}

#[test]
fn without_stage_two_the_qformer_writes() {
    let fixture = Fixture::new(Stages::First);
    let parts = ["bridge.safetensors", "--by qformer"];
    fixture.assert_fails(&["caption", "--model", "model", "red.png"], &parts);
    let text = fixture.stdout(&["caption", "--model", "model", "red.png", "--by", "qformer"]);
    assert!(!text.trim().is_empty());
}

#[test]
fn without_stage_one_the_language_model_writes() {
    let fixture = Fixture::new(Stages::Second);
    assert!(
        !fixture
            .stdout(&["caption", "--model", "model", "red.png"])
            .trim()
            .is_empty()
    );
    let parts = ["representation.safetensors", "stage 1"];
    fixture.assert_fails(
        &["caption", "--model", "model", "red.png", "--by", "qformer"],
        &parts,
    );
    fixture.assert_fails(
        &["match", "--model", "model", "red.png", "--text", "a dog"],
        &parts,
    );
}

#[test]
fn a_question_stands_in_the_models_own_prompt() {
    let fixture = Fixture::new(Stages::Both);
    let question = word(30);
    let answer = &fixture.records(&["ask", "--model", "model", "red.png", &question])[0];
    assert_eq!(answer["question"], question);
    assert_eq!(answer["image"], "red.png");
    let prompt = fixture
        .config
        .language_model
        .as_ref()
        .unwrap()
        .question_prompt
        .replace("{}", &question);
    let settings = [
        "--num-beams",
        "5",
        "--length-penalty",
        "-1",
        "--max-new-tokens",
        "10",
    ];
    let arguments = [
        &["caption", "--model", "model", "red.png", "--prompt", &prompt][..],
        &settings,
    ]
    .concat();
    let caption = &fixture.records(&arguments)[0];
    for field in ["ids", "text", "score"] {
        assert_eq!(answer[field], caption[field]);
    }
}
