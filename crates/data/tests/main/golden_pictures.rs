//! Small pictures of every kind that people have, each as Pillow decodes it, byte for byte (`pictures`, made by
//! `tests/peer/golden_pictures.py`).

use std::collections::BTreeSet;

use blip2_data::pixels::{DecodeOptions, PixelsError, RgbImage, open};
use blip2_golden::{Check, find, json};
use sha2::{Digest, Sha256};

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        const KINDS: &[&str] = &[$(stringify!($kind)),*];

        $(
            #[test]
            fn $kind() {
                check(stringify!($kind));
            }
        )*
    };
}

kinds! {
    jpeg_samplings,
    jpeg_narrow,
    jpeg_colour_space,
    jpeg_scans,
    jpeg_damaged,
    jpeg_orientation,
    png_modes,
    png_transparency,
    png_orientation,
    png_damaged,
    gif_frames,
    bmp_kinds,
    tiff_kinds,
    webp_kinds,
    avif_samplings,
    avif_narrow,
    avif_colour,
    avif_depths,
    avif_grids,
    avif_sequences,
    avif_damaged,
    avif_orientation,
    no_pictures,
}

fn folder(kind: &str) -> String {
    kind.replace('_', "-")
}

/// Size and hash, or that the picture is refused.
fn seen(picture: Result<RgbImage, PixelsError>) -> String {
    picture.map_or("refused".into(), |picture| {
        let hash = Sha256::digest(picture.as_raw());
        let digits: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}x{} {digits}", picture.width(), picture.height())
    })
}

fn check(kind: &str) {
    let Some(cases) = json("pictures/cases.json") else {
        return;
    };
    let folder = folder(kind);
    let mut check = Check::new(&format!("pictures/{folder}"));
    let files = cases[&folder].as_object().expect("pictures of this kind");
    assert!(!files.is_empty(), "no pictures of kind {folder}");
    for (file, expected) in files {
        let path = find(&format!("pictures/{folder}/{file}")).expect("the folder has its pictures");
        let expected: Vec<&str> = expected
            .as_array()
            .expect("a list")
            .iter()
            .map(|seen| seen.as_str().expect("text"))
            .collect();
        let expected = [expected.first(), expected.last()]
            .map(|seen| seen.map_or("refused".to_owned(), |seen| (*seen).to_owned()));
        let ours = [DecodeOptions::as_stored(), DecodeOptions::upright()].map(|way| seen(open(&path, way)));
        check.identical(&format!("pixels/{file}"), &ours, &expected);
    }
}

#[test]
fn every_kind_is_checked() {
    let Some(cases) = json("pictures/cases.json") else {
        return;
    };
    let given: BTreeSet<String> = cases.as_object().expect("kinds").keys().cloned().collect();
    let known: BTreeSet<String> = KINDS.iter().map(|kind| folder(kind)).collect();
    let [given, known] = [given, known].map(Vec::from_iter);
    Check::new("pictures").identical("kinds", &known, &given);
}
