//! Listing weights, and what is cut short.

use std::fs;

use serde_json::Value;

use crate::support::{Fixture, Stages};

/// A whole GGUF file (version 3): one metadata entry and one tensor of four f32 values.
fn gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut file = [
        &b"GGUF"[..],
        &3_u32.to_le_bytes(),
        &1_u64.to_le_bytes(),
        &1_u64.to_le_bytes(),
    ]
    .concat();
    const TEXT: u32 = 8;
    file.extend(
        [
            text("general.architecture"),
            TEXT.to_le_bytes().to_vec(),
            text("llama"),
        ]
        .concat(),
    );
    const F32: u32 = 0;
    file.extend(
        [
            text("token_embd.weight"),
            1_u32.to_le_bytes().to_vec(),
            4_u64.to_le_bytes().to_vec(),
        ]
        .concat(),
    );
    file.extend([&F32.to_le_bytes()[..], &0_u64.to_le_bytes()].concat());
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend([1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
    file
}

/// A whole ONNX file: a graph with one initialiser of four f32 values.
fn onnx() -> Vec<u8> {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        const LENGTH_DELIMITED: u8 = 2;
        [&[number << 3 | LENGTH_DELIMITED, content.len() as u8], content].concat()
    }
    let values = [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    const DIMENSION: [u8; 2] = [1 << 3, 4];
    const FLOAT: [u8; 2] = [2 << 3, 1];
    let tensor = [&DIMENSION[..], &FLOAT, &field(8, b"weight"), &field(9, &values)].concat();
    field(7, &field(5, &tensor))
}

#[test]
fn a_model_folder_lists_its_configuration_and_every_tensor() {
    let fixture = Fixture::new(Stages::Both);
    let text = fixture.stdout(&["inspect", "model"]);
    for part in [
        "blip2.json",
        "\"image_size\"",
        "representation.safetensors",
        "bridge.safetensors",
        "projection.weight",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}

#[test]
fn totals_are_the_sum_of_the_tensors() {
    let fixture = Fixture::new(Stages::Both);
    for path in ["model", "home/language-model", "home/encoder/model.safetensors"] {
        let records = fixture.records(&["inspect", path]);
        let (totals, tensors): (Vec<&Value>, Vec<&Value>) =
            records.iter().partition(|record| record.get("tensors").is_some());
        assert!(!totals.is_empty() && !tensors.is_empty());
        for total in totals {
            let own: Vec<_> = tensors
                .iter()
                .filter(|tensor| tensor["file"] == total["file"])
                .collect();
            let extent = |tensor: &Value| {
                let shape = tensor["shape"].as_array().unwrap();
                shape
                    .iter()
                    .map(|extent| extent.as_u64().unwrap())
                    .product::<u64>()
            };
            assert_eq!(total["tensors"], own.len());
            assert_eq!(
                total["values"],
                own.iter().map(|tensor| extent(tensor)).sum::<u64>()
            );
        }
    }
}

#[test]
fn every_file_that_is_cut_short_is_an_error_that_names_it() {
    let fixture = Fixture::new(Stages::First);
    let safetensors = fs::read(blip2_golden::fixture("parts/dinov2/model.safetensors")).unwrap();
    for (name, whole, tensor) in [
        ("a.gguf", gguf(), "token_embd.weight"),
        ("a.onnx", onnx(), "weight"),
        ("a.safetensors", safetensors, "embeddings.cls_token"),
    ] {
        fs::write(fixture.path(name), &whole).unwrap();
        let text = fixture.stdout(&["inspect", name]);
        assert!(text.contains(tensor), "{text}");
        for eighth in 0..8 {
            fs::write(fixture.path(name), &whole[..whole.len() * eighth / 8]).unwrap();
            fixture.assert_fails(&["inspect", name], &[name]);
        }
        fs::write(fixture.path(name), &whole[..whole.len() - 1]).unwrap();
        fixture.assert_fails(&["inspect", name], &[name]);
    }
}

#[test]
fn what_is_no_model_is_named() {
    let fixture = Fixture::new(Stages::First);
    fixture.assert_fails(&["inspect", "home"], &["home holds no weights", "blip2.json"]);
    fixture.assert_fails(&["inspect", "absent"], &["absent", "No such file"]);
    fixture.assert_fails(&["inspect", "red.png"], &["red.png", "safetensors"]);
}
