//! Which way up and how large pictures may be.

use std::path::Path;

use blip2::{DecodeOptions, open_picture};
use blip2_core::weights::TensorStore;
use blip2_golden::fixture;

use crate::hugging_face::{folder, run, tensors};
use crate::support::stderr;

/// 19 columns and 8 rows in the file; upright 8 columns and 19 rows.
const TURNED: &str = "pictures/jpeg-orientation/exif6.jpg";

fn pixels(image: &str, extra: &[&str]) -> Vec<f32> {
    let model = folder("hf/opt-tiny");
    let traced = tensors(&[&["trace", "--model", &model, image], extra].concat());
    traced.read("pixel_values").unwrap().iter().collect()
}

#[test]
fn pictures_stand_upright_unless_they_are_to_be_taken_as_they_lie() {
    let drawn = tempfile::tempdir().unwrap();
    let redrawn = |way, name: &str| {
        let file = drawn.path().join(name);
        open_picture(&fixture(TURNED), way).unwrap().save(&file).unwrap();
        file.display().to_string()
    };
    let upright = redrawn(DecodeOptions::upright(), "upright.png");
    let stored = redrawn(DecodeOptions::as_stored(), "stored.png");
    assert_eq!(pixels(&folder(TURNED), &[]), pixels(&upright, &[]));
    assert_eq!(pixels(&folder(TURNED), &["--no-exif"]), pixels(&stored, &[]));
    assert_ne!(pixels(&upright, &[]), pixels(&stored, &[]));
}

#[test]
fn pictures_of_more_pixels_than_allowed_are_refused_by_name() {
    let (model, image) = (folder("hf/opt-tiny"), folder(TURNED));
    let with = |most| {
        run(
            Path::new("."),
            &["caption", "--model", &model, &image, "--max-pixels", most],
        )
    };
    assert!(with("152").status.success());
    let refused = with("151");
    assert_eq!(refused.status.code(), Some(1));
    for part in ["exif6.jpg", "19x8", "152", "151"] {
        assert!(stderr(&refused).contains(part), "{}", stderr(&refused));
    }
}
