//! Pictures, models and folders that cannot be used: an error that names the file and the reason, exit code 1.

use std::fs;
use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore};
use burn::tensor::Tolerance;
use serde_json::Value;

use crate::support::{Fixture, Stages, stderr};

const CAPTION: [&str; 3] = ["caption", "--model", "model"];

/// A PNG that announces `width` x `height` pixels and has hardly any.
fn png_head(width: u32, height: u32) -> Vec<u8> {
    const RGB8: [u8; 5] = [8, 2, 0, 0, 0];
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &RGB8].concat();
    [
        &b"\x89PNG\r\n\x1a\n"[..],
        &png_chunk(b"IHDR", &header),
        &png_chunk(b"IDAT", &[0x78, 0x9c]),
    ]
    .concat()
}

fn png_chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let body = [kind, content].concat();
    let checksum = body.iter().fold(u32::MAX, |checksum, byte| {
        let shift = |rest: u32, _| {
            if rest & 1 == 1 {
                rest >> 1 ^ 0xEDB8_8320
            } else {
                rest >> 1
            }
        };
        (0..8).fold(checksum ^ u32::from(*byte), shift)
    });
    [
        &(content.len() as u32).to_be_bytes()[..],
        &body,
        &(!checksum).to_be_bytes(),
    ]
    .concat()
}

fn truncate(path: &Path, share: f64) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..(bytes.len() as f64 * share) as usize]).unwrap();
}

#[test]
fn pictures_that_cannot_be_read() {
    let fixture = Fixture::new(Stages::Both);
    let whole = fs::read(fixture.path("red.png")).unwrap();
    for (name, bytes, reason) in [
        ("text.png", b"this is not a picture".to_vec(), "not a picture"),
        ("empty.png", Vec::new(), "not a picture"),
        ("huge.png", png_head(60_000, 60_000), "60000x60000"),
        ("headonly.png", png_head(60, 60), "cut short"),
        ("short.png", whole[..whole.len() / 2].to_vec(), "cut short"),
    ] {
        fs::write(fixture.path(name), bytes).unwrap();
        fixture.assert_fails(&[&CAPTION[..], &[name]].concat(), &[name, reason]);
        fixture.assert_fails(
            &["match", "--model", "model", name, "--text", "a dog"],
            &[name, reason],
        );
    }
    fixture.assert_fails(
        &[&CAPTION[..], &["absent.png"]].concat(),
        &["absent.png", "No such file"],
    );
    fixture.assert_fails(&[&CAPTION[..], &["home"]].concat(), &["home"]);
}

/// Whole and unusable pictures, in this order, in batches of two: one batch is unusable as a whole.
const MIXED: [&str; 6] = [
    "red.png",
    "absent.png",
    "empty.png",
    "text.png",
    "blue.png",
    "short.png",
];
const UNUSABLE: [&str; 4] = ["absent.png", "empty.png", "text.png", "short.png"];

fn mixed() -> Fixture {
    let fixture = Fixture::new(Stages::Both);
    let whole = fs::read(fixture.path("red.png")).unwrap();
    fs::write(fixture.path("text.png"), "this is not a picture").unwrap();
    fs::write(fixture.path("empty.png"), "").unwrap();
    fs::write(fixture.path("short.png"), &whole[..whole.len() / 2]).unwrap();
    fixture
}

#[test]
fn one_bad_picture_costs_itself_alone() {
    let fixture = mixed();
    let whole = fixture.records(&[&CAPTION[..], &["red.png", "blue.png"]].concat());
    for size in ["1", "2", "8"] {
        let all = [&CAPTION[..], &MIXED, &["--batch-size", size]].concat();
        let output = fixture.run(&[&all[..], &["--json"]].concat());
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("4 of 6"), "{message}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let records: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let images: Vec<&Value> = records.iter().map(|record| &record["image"]).collect();
        assert_eq!(images, MIXED);
        for record in &records {
            let name = record["image"].as_str().unwrap();
            if UNUSABLE.contains(&name) {
                assert!(record["error"].as_str().unwrap().contains(name), "{record}");
                assert!(message.contains(name), "{name} is not named: {message}");
                assert_eq!(record.as_object().unwrap().len(), 2, "{record}");
            } else {
                let alone = whole.iter().find(|record| record["image"] == name).unwrap();
                assert_eq!(record["ids"], alone["ids"]);
            }
        }
        let plain = fixture.run(&all);
        assert_eq!(plain.status.code(), Some(1));
        assert_eq!(String::from_utf8(plain.stdout).unwrap().lines().count(), 2);
    }
}

#[test]
fn a_folder_without_pictures_costs_itself_alone() {
    let fixture = Fixture::new(Stages::Both);
    fs::create_dir(fixture.path("dir.jpg")).unwrap();
    let all = [&CAPTION[..], &["red.png", "dir.jpg", "blue.png", "--json"]].concat();
    let output = fixture.run(&all);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("1 of 3"), "{message}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 3, "{stdout}");
    assert!(records[0]["text"].is_string() && records[2]["text"].is_string());
    assert_eq!(records[1]["image"], "dir.jpg");
    assert!(records[1]["error"].as_str().unwrap().contains("it is a folder"));
    fixture.assert_fails(
        &[&CAPTION[..], &["dir.jpg"]].concat(),
        &["dir.jpg", "holds no picture"],
    );
}

#[test]
fn prompts_that_git_left_a_pointer_of() {
    let fixture = Fixture::new(Stages::First);
    for version in [
        "https://git-lfs.github.com/spec/v1",
        "https://hawser.github.com/spec/v1",
    ] {
        let pointer = format!("version {version}\noid sha256:4d7a\nsize 12345\n");
        fs::write(fixture.path("prompts.jsonl"), pointer).unwrap();
        fixture.assert_fails(
            &[&CAPTION[..], &["--prompts", "prompts.jsonl"]].concat(),
            &["prompts.jsonl", "LFS"],
        );
    }
}

#[test]
fn the_first_bad_picture_stops_who_wants_it() {
    let fixture = mixed();
    let stop = [&CAPTION[..], &MIXED, &["--batch-size", "1", "--fail-fast"]].concat();
    let output = fixture.run(&stop);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("absent.png") && !stderr(&output).contains("empty.png"));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn embeddings_are_written_of_the_pictures_that_can_be_used() {
    let fixture = mixed();
    let texts = ["a", "b", "c", "d", "e", "f"];
    for (mode, texts, name) in [
        ("image", &[][..], "image_embeds"),
        ("multimodal", &texts[..], "multimodal_embeds"),
    ] {
        let embed = |images: &[&str], texts: &[&str], out| {
            let words = if texts.is_empty() {
                vec![]
            } else {
                [&["--text"], texts].concat()
            };
            let options = ["--mode", mode, "--out", out, "--batch-size", "2"];
            fixture.run(&[&["embed", "--model", "model"], images, &options, &words].concat())
        };
        let output = embed(&MIXED, texts, "mixed");
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(UNUSABLE.iter().all(|name| message.contains(name)), "{message}");
        let kept: Vec<&str> = texts.iter().step_by(4).copied().collect();
        assert!(embed(&["red.png", "blue.png"], &kept, "whole").status.success());
        let read = |file| {
            SafetensorsStore::open(&fixture.path(file))
                .unwrap()
                .read(name)
                .unwrap()
        };
        read("mixed").assert_approx_eq::<f32>(&read("whole"), Tolerance::absolute(1e-4));
        let bytes = fs::read(fixture.path("mixed")).unwrap();
        let header = String::from_utf8_lossy(&bytes[8..]).into_owned();
        assert!(header.contains(r#"[\"red.png\",\"blue.png\"]"#), "{header}");
    }
    let none = [
        "embed",
        "--model",
        "model",
        "text.png",
        "empty.png",
        "--mode",
        "image",
        "--out",
        "none",
    ];
    fixture.assert_fails(&none, &["text.png", "empty.png", "2 of 2"]);
    assert!(!fixture.path("none").exists());
}

#[test]
fn a_picture_of_one_pixel_is_a_picture() {
    let fixture = Fixture::new(Stages::Both);
    image::RgbImage::new(1, 1).save(fixture.path("one.png")).unwrap();
    assert!(
        !fixture
            .stdout(&[&CAPTION[..], &["one.png"]].concat())
            .trim()
            .is_empty()
    );
}

#[test]
fn folders_that_are_no_model() {
    let fixture = Fixture::new(Stages::Both);
    fs::create_dir(fixture.path("empty")).unwrap();
    for folder in ["empty", "absent", "red.png"] {
        fixture.assert_fails(
            &["caption", "--model", folder, "red.png"],
            &[folder, "no model folder", "blip2.json"],
        );
    }
}

#[test]
fn configurations_that_are_wrong() {
    let fixture = Fixture::new(Stages::Both);
    let path = fixture.path("model/blip2.json");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to, reason) in [
        ("{", "", "blip2.json"),
        ("\"image_size\"", "\"image_sise\"", "image_sise"),
        (
            "\"path\": \"encoder\"",
            "\"path\": \"encoder\", \"model_type\": \"resnet\"",
            "resnet",
        ),
        ("\"image_size\": ", "\"image_size\": 1", "pixels"),
        ("\"block\": ", "\"block\": 10", "blocks"),
        ("\"block\": ", "\"block\": -10", "blocks"),
        (
            "\"num_query_tokens\": 5",
            "\"num_query_tokens\": 6",
            "query_tokens",
        ),
        (
            "\"num_attention_heads\": 4",
            "\"num_attention_heads\": 5",
            "num_attention_heads",
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        fs::write(&path, bad).unwrap();
        fixture.assert_fails(&[&CAPTION[..], &["red.png"]].concat(), &[reason]);
    }
}

#[test]
fn weights_that_are_cut_short() {
    for file in [
        "model/bridge.safetensors",
        "model/representation.safetensors",
        "home/encoder/model.safetensors",
    ] {
        let fixture = Fixture::new(Stages::Both);
        for share in [0.9, 0.001, 0.0] {
            truncate(&fixture.path(file), share);
            let name = file.rsplit('/').next().unwrap();
            fixture.assert_fails(
                &[&CAPTION[..], &["red.png"]].concat(),
                &[name.trim_start_matches("model.")],
            );
        }
    }
    let fixture = Fixture::new(Stages::Both);
    truncate(&fixture.path("home/language-model/model.safetensors"), 0.9);
    fixture.assert_fails(
        &[&CAPTION[..], &["red.png"]].concat(),
        &["language model", "home/language-model"],
    );
}

#[test]
fn frozen_models_of_one_file_that_are_cut_short() {
    let mut fixture = Fixture::new(Stages::Both);
    fs::write(fixture.path("home/short.gguf"), b"GGUF\x03\0\0\0\x10").unwrap();
    fixture.config.language_model.as_mut().unwrap().path = "short.gguf".into();
    fixture.save("model", Stages::Both);
    fixture.assert_fails(&[&CAPTION[..], &["red.png"]].concat(), &["short.gguf", "GGUF"]);

    fs::write(fixture.path("home/short.onnx"), b"\x3a\xff\x01\x12").unwrap();
    fixture.config.encoder.path = "short.onnx".into();
    fixture.config.encoder.model_type = Some("saliency-vit-s".to_owned());
    fixture.save("model", Stages::Both);
    fixture.assert_fails(&[&CAPTION[..], &["red.png"]].concat(), &["short.onnx", "ONNX"]);
}

#[test]
fn frozen_models_that_are_not_there() {
    for (part, what) in [
        ("home/encoder", "image encoder"),
        ("home/language-model", "language model"),
    ] {
        let fixture = Fixture::new(Stages::Both);
        fs::remove_dir_all(fixture.path(part)).unwrap();
        let parts = [what, part, "cargo xtask assets"];
        fixture.assert_fails(&[&CAPTION[..], &["red.png"]].concat(), &parts);
    }
}

#[test]
fn a_model_without_weights() {
    let fixture = Fixture::new(Stages::First);
    fs::remove_file(fixture.path("model/representation.safetensors")).unwrap();
    fixture.assert_fails(
        &[&CAPTION[..], &["red.png"]].concat(),
        &["blip2.json", "incomplete"],
    );
}

#[test]
fn results_that_cannot_be_written() {
    let fixture = Fixture::new(Stages::First);
    let out = "absent/trace.safetensors";
    fixture.assert_fails(
        &["trace", "--model", "model", "red.png", "--out", out],
        &[out, "No such file"],
    );
}

#[test]
fn a_prompt_longer_than_the_language_model_reads() {
    let fixture = Fixture::new(Stages::Both);
    let prompt = "w5 ".repeat(5000);
    fixture.assert_fails(
        &[&CAPTION[..], &["red.png", "--prompt", &prompt]].concat(),
        &["positions", "shorten"],
    );
}
