//! Folders that `transformers` wrote, by path and by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blip2_core::weights::{SafetensorsStore, TensorStore};
use blip2_golden::fixture;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::stderr;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) fn folder(name: &str) -> String {
    fixture(name).display().to_string()
}

fn picture(number: usize) -> String {
    folder(&format!("hf/opt-tiny/image{number}.png"))
}

/// Runs `blip2` where `HF_HOME` is `cache`, with nothing in the folder for models of our own.
pub(crate) fn run(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blip2"))
        .args(arguments)
        .current_dir(cache)
        .env("HF_HOME", cache)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HUGGINGFACE_HUB_CACHE")
        .env("BLIP2_HOME", cache)
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn records(arguments: &[&str]) -> Vec<Value> {
    let cache = tempfile::tempdir().unwrap();
    let output = run(cache.path(), &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A Hugging Face cache that holds the model `tests/tiny`.
fn cache() -> TempDir {
    let cache = tempfile::tempdir().unwrap();
    let model = repository(cache.path());
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), COMMIT).unwrap();
    let snapshot = model.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    for entry in fs::read_dir(fixture("hf/opt-tiny")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), snapshot.join(entry.file_name())).unwrap();
    }
    cache
}

fn repository(cache: &Path) -> PathBuf {
    cache.join("hub/models--tests--tiny")
}

#[test]
fn each_family_captions_and_answers() {
    for name in ["hf/opt-tiny", "hf/flant5-tiny"] {
        let model = folder(name);
        let images = [picture(0), picture(1), picture(2)];
        let captions = records(&[
            "caption",
            "--model",
            &model,
            &images[0],
            &images[1],
            &images[2],
            "--num-beams",
            "1",
            "--max-new-tokens",
            "6",
        ]);
        assert_eq!(captions.len(), 3);
        for (caption, image) in captions.iter().zip(&images) {
            assert_eq!(caption["image"], **image);
            assert_eq!(caption["prompt"], "");
            assert_eq!(caption["ids"].as_array().unwrap().len(), 6, "{caption}");
            let alone = records(&[
                "caption",
                "--model",
                &model,
                image,
                "--num-beams",
                "1",
                "--max-new-tokens",
                "6",
            ]);
            assert_eq!(alone[0]["ids"], caption["ids"]);
        }
        assert_ne!(
            captions[0]["score"], captions[1]["score"],
            "the pictures do not count"
        );
    }
}

#[test]
fn a_question_is_put_as_the_family_was_asked() {
    for (name, prompt) in [
        ("hf/opt-tiny", "Question: What is it? Answer:"),
        ("hf/flant5-tiny", "Question: What is it? Short answer:"),
    ] {
        let (model, image) = (folder(name), picture(1));
        let answer = records(&["ask", "--model", &model, &image, "What is it?"]);
        let caption = records(&[
            "caption",
            "--model",
            &model,
            &image,
            "--prompt",
            prompt,
            "--num-beams",
            "5",
            "--length-penalty",
            "-1",
            "--max-new-tokens",
            "10",
        ]);
        assert_eq!(answer[0]["ids"], caption[0]["ids"], "{name}");
    }
}

#[test]
fn instructions_are_followed_as_by_the_reference() {
    let path = fixture("parts/instructblip-llama");
    let cases: Value = serde_json::from_slice(&fs::read(path.join("cases.json")).unwrap()).unwrap();
    let greedy = |case: &&Value| case["params"]["num_beams"] == 1;
    let cases: Vec<&Value> = cases["generate"]
        .as_array()
        .unwrap()
        .iter()
        .filter(greedy)
        .collect();
    assert!(!cases.is_empty());
    for case in cases {
        let text = |field: &str| case[field].as_str().unwrap().to_owned();
        let image = path.join(text("image")).display().to_string();
        let length = case["params"]["max_new_tokens"].to_string();
        let answers = records(&[
            "ask",
            "--model",
            &path.display().to_string(),
            &image,
            &text("prompt"),
            "--num-beams",
            "1",
            "--length-penalty",
            "1",
            "--max-new-tokens",
            &length,
        ]);
        let given = case["input_ids"].as_array().unwrap().len();
        let written = &case["ids"].as_array().unwrap()[given..];
        assert_eq!(answers[0]["ids"].as_array().unwrap(), written, "{image}");
    }
}

#[test]
fn retrieval_matches_and_embeds() {
    let (model, image) = (folder("hf/itm-tiny"), picture(0));
    let matches = records(&[
        "match",
        "--model",
        &model,
        &image,
        "--text",
        "a red circle",
        "two people",
    ]);
    assert_eq!(matches.len(), 2);
    assert_ne!(matches[0]["itm_probability"], matches[1]["itm_probability"]);
    let out = tempfile::tempdir().unwrap();
    for (mode, extra) in [
        ("image", None),
        ("text", Some("--text")),
        ("multimodal", Some("--text")),
    ] {
        let file = out.path().join(mode).display().to_string();
        let mut arguments = vec!["embed", "--model", &model, "--mode", mode, "--out", &file];
        arguments.extend((mode != "text").then_some(image.as_str()));
        arguments.extend(extra.iter().flat_map(|option| [*option, "a red circle"]));
        let output = run(out.path(), &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(
            !SafetensorsStore::open(Path::new(&file))
                .unwrap()
                .tensors()
                .is_empty()
        );
    }
}

/// Runs `embed` or `trace` and reads what it wrote.
pub(crate) fn tensors(arguments: &[&str]) -> SafetensorsStore {
    let out = tempfile::tempdir().unwrap();
    let output = run(out.path(), &[arguments, &["--out", "t"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    SafetensorsStore::open(&out.path().join("t")).unwrap()
}

#[test]
fn features_queries_and_soft_prompts_are_those_of_the_reference() {
    for name in ["hf/opt-tiny", "hf/flant5-tiny"] {
        let model = folder(name);
        let images = [0, 1, 2].map(|number| folder(&format!("{name}/image{number}.png")));
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let embed = [&["embed", "--model", &model][..], &images, &["--mode", "image"]].concat();
        let written = tensors(&[&embed[..], &["--batch", "2"]].concat());
        let names: Vec<&String> = written.tensors().keys().collect();
        assert_eq!(names, ["projected", "qformer", "vision"]);
        let expected = SafetensorsStore::open(&fixture(name).join("expected.safetensors")).unwrap();
        for name in names {
            let all = written.read(name).unwrap();
            let values: Vec<f32> = all.iter().collect();
            for (number, values) in values.chunks(values.len() / 3).enumerate() {
                let expected = expected.read(&format!("{number}.{name}")).unwrap();
                assert_eq!(all.shape()[1..], expected.shape()[1..]);
                let apart = values.iter().zip(expected.iter::<f32>());
                let apart = apart.fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
                assert!(apart < 2e-5, "{name} of picture {number}: {apart}");
            }
        }
        let some = tensors(&[&embed[..], &["--only", "projected,vision"]].concat());
        assert_eq!(some.tensors().keys().collect::<Vec<_>>(), ["projected", "vision"]);
        for (wrong, reason) in [
            (
                &["--mode", "image", "--only", "logits"][..],
                "vision, qformer, projected",
            ),
            (&["--mode", "multimodal", "--text", "a dog"], "stage 1"),
        ] {
            let wrong = [&["embed", "--model", &model, images[0], "--out", "t"], wrong].concat();
            let output = run(Path::new("."), &wrong);
            assert_eq!(output.status.code(), Some(1));
            assert!(stderr(&output).contains(reason), "{}", stderr(&output));
        }
    }
}

#[test]
fn the_folder_says_when_beam_search_is_over() {
    let model = cache();
    let snapshot = repository(model.path()).join("snapshots").join(COMMIT);
    let caption = |file: &str, extra: &[&str]| {
        fs::write(snapshot.join("generation_config.json"), file).unwrap();
        let model = snapshot.display().to_string();
        records(
            &[
                &["caption", "--model", &model, &picture(1), "--num-captions", "3"],
                extra,
            ]
            .concat(),
        )
    };
    // An id that this model likes to write, so that its texts end.
    let config = snapshot.join("config.json");
    let mut changed: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    changed["text_config"]["eos_token_id"] = 321.into();
    fs::write(&config, changed.to_string()).unwrap();
    let folder = |settings: &str| format!(r#"{{"length_penalty": 2.0{settings}}}"#);
    let by_option = |value: &str| caption(&folder(""), &["--early-stopping", value]);
    for value in ["false", "true", "\"never\""] {
        let by_folder = caption(&folder(&format!(r#", "early_stopping": {value}"#)), &[]);
        assert_eq!(by_folder, by_option(value.trim_matches('"')), "{value}");
    }
    assert_ne!(by_option("true"), by_option("never"));
    assert_eq!(by_option("false"), caption(&folder(""), &[]));
    let drawn = caption(&folder(r#", "do_sample": true, "num_beams": 4"#), &[]);
    assert_eq!(drawn, caption(&folder(""), &["--sample", "--num-beams", "4"]));
    assert_eq!(
        caption(&folder(r#", "do_sample": true"#), &["--sample=false"]),
        caption(&folder(""), &["--num-beams", "3"])
    );
}

#[test]
fn an_instruction_changes_what_the_language_model_sees() {
    let model = folder("parts/instructblip-llama");
    let text = "what is it?";
    let image = picture(0);
    let embed = [
        "embed",
        "--model",
        &model,
        &image,
        "--mode",
        "multimodal",
        "--text",
        text,
    ];
    let traced = ["trace", "--model", &model, &image, "--prompt", text];
    let alone = ["embed", "--model", &model, &image, "--mode", "image"];
    let [embedded, traced, alone] = [&embed[..], &traced, &alone].map(tensors);
    for name in ["vision", "qformer", "projected"] {
        let same =
            |a: &SafetensorsStore, b: &SafetensorsStore| a.read(name).unwrap() == b.read(name).unwrap();
        assert!(same(&embedded, &traced), "{name}");
        assert_eq!(same(&embedded, &alone), name == "vision", "{name}");
    }
}

#[test]
fn a_name_is_found_in_the_cache() {
    let cache = cache();
    let image = picture(1);
    let arguments = ["--num-beams", "1", "--max-new-tokens", "4", "--json"];
    let named = run(
        cache.path(),
        &[&["caption", "--model", "tests/tiny", &image][..], &arguments].concat(),
    );
    assert!(named.status.success(), "{}", stderr(&named));
    let given = run(
        cache.path(),
        &[
            &["caption", "--model", &folder("hf/opt-tiny"), &image][..],
            &arguments,
        ]
        .concat(),
    );
    assert_eq!(named.stdout, given.stdout);
    let inspected = run(cache.path(), &["inspect", "tests/tiny"]);
    let listing = String::from_utf8(inspected.stdout).unwrap();
    assert!(listing.contains("language_projection.weight"), "{listing}");
}

#[test]
fn a_name_that_the_cache_lacks_is_an_error_that_says_what_and_where() {
    let image = picture(0);
    let missing = |cache: &Path, path: &str| {
        let output = run(cache, &["caption", "--model", "tests/tiny", &image]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        for part in ["tests/tiny", &cache.join(path).display().to_string()] {
            assert!(message.contains(part), "`{part}` is not said: {message}");
        }
    };
    let empty = tempfile::tempdir().unwrap();
    missing(empty.path(), "hub/models--tests--tiny");

    let cache = cache();
    let model = repository(cache.path());
    fs::write(model.join("refs/main"), "../../../elsewhere").unwrap();
    missing(
        cache.path(),
        "hub/models--tests--tiny/snapshots/../../../elsewhere",
    );
    fs::write(model.join("refs/main"), "fedcba").unwrap();
    missing(cache.path(), "hub/models--tests--tiny/snapshots/fedcba");
    fs::remove_file(model.join("refs/main")).unwrap();
    missing(cache.path(), "hub/models--tests--tiny/refs/main");
}
