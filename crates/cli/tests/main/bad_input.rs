//! Pictures, models and folders that cannot be used: an error that names the file and the reason, exit code 1.

use std::fs;
use std::path::Path;

use crate::support::{Fixture, Stages};

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
        ("headonly.png", png_head(60, 60), "damaged"),
        ("short.png", whole[..whole.len() / 2].to_vec(), "damaged"),
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
        ("\"dinov2\"", "\"resnet\"", "resnet"),
        ("\"image_size\": ", "\"image_size\": 1", "pixels"),
        ("\"features_after\": ", "\"features_after\": 10", "blocks"),
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
    fixture.config.language_model.path = "short.gguf".into();
    fixture.save("model", Stages::Both);
    fixture.assert_fails(&[&CAPTION[..], &["red.png"]].concat(), &["short.gguf", "GGUF"]);

    fs::write(fixture.path("home/short.onnx"), b"\x3a\xff\x01\x12").unwrap();
    fixture.config.encoder.path = "short.onnx".into();
    fixture.config.encoder.kind = blip2::EncoderKind::SaliencyVitS;
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
