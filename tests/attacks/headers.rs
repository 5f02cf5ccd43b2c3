//! Safetensors headers that are cut short or have a bit turned.

use std::fs;
use std::path::{Path, PathBuf};

use blip2_core::weights::fingerprint;
use blip2_vision_encoder::{EncoderError, VisionTransformer};
use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::meter::frugal;
use crate::{chain, copy};

const ATTACKS: usize = 100;
const MODEL: &str = "parts/dinov2";

fn load(folder: &Path) -> Result<VisionTransformer, EncoderError> {
    VisionTransformer::from_hugging_face(folder, &Device::flex())
}

/// A copy of a model and the path of its only weight file.
fn victim() -> (tempfile::TempDir, PathBuf) {
    let folder = copy(MODEL);
    let files: Vec<PathBuf> = fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "safetensors")
        })
        .filter(|path| !path.ends_with("expected.safetensors"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = files[0].clone();
    (folder, file)
}

/// Where the header of a safetensors file ends: 8 bytes of length, then as much JSON.
fn header_end(whole: &[u8]) -> usize {
    let (length, _) = whole.split_first_chunk::<8>().expect("a length");
    8 + u64::from_le_bytes(*length) as usize
}

#[test]
fn a_header_that_is_cut_short_is_an_error() {
    let (folder, file) = victim();
    let whole = fs::read(&file).expect("weights");
    let end = header_end(&whole);
    for part in 0..ATTACKS {
        fs::write(&file, &whole[..end * part / ATTACKS]).expect("writing");
        let error = frugal("a cut header", || load(folder.path()))
            .map(|_| ())
            .expect_err("cut short");
        assert!(chain(&error).contains("safetensors"), "{}", chain(&error));
    }
}

#[test]
fn a_turned_bit_in_a_header_is_an_error() {
    let (folder, file) = victim();
    let whole = fs::read(&file).expect("weights");
    let end = header_end(&whole);
    let mut random = ChaCha8Rng::seed_from_u64(64);
    for attack in 0..ATTACKS {
        // Half of the attacks hit the length and the first names, on which all else depends.
        let reach = if attack % 2 == 0 { end } else { 200 };
        let (byte, bit) = (random.random_range(0..reach), random.random_range(0..8));
        let mut turned = whole.clone();
        turned[byte] ^= 1 << bit;
        fs::write(&file, &turned).expect("writing");
        let loaded = frugal("a turned bit", || load(folder.path()).map(|_| ()));
        let Err(error) = loaded else {
            // What the file says of itself in free words names no tensor, so it cannot be wrong.
            let free = free_words(&whole);
            assert!(free.contains(&byte), "bit {bit} of byte {byte} went unnoticed");
            continue;
        };
        assert!(!chain(&error).is_empty());
    }
    fs::write(&file, &whole).expect("writing");
    assert_eq!(
        fingerprint(&load(folder.path()).expect("whole again")),
        fingerprint(&load(&blip2_golden::fixture(MODEL)).expect("the original"))
    );
}

/// The bytes of the texts in `__metadata__`, without their quotes.
fn free_words(whole: &[u8]) -> std::ops::Range<usize> {
    let find = |text: &str, from: usize| {
        let place = whole[from..]
            .windows(text.len())
            .position(|window| window == text.as_bytes());
        from + place.unwrap_or_else(|| panic!("no {text}"))
    };
    let start = find("\"__metadata__\":{", 8) + "\"__metadata__\":{".len();
    start..find("}", start)
}

#[test]
fn a_length_beyond_all_bounds_is_an_error() {
    let (folder, file) = victim();
    let whole = fs::read(&file).expect("weights");
    for length in [
        0,
        1,
        u64::MAX,
        u64::MAX - 8,
        1 << 40,
        whole.len() as u64,
        100_000_000,
    ] {
        let mut wrong = whole.clone();
        wrong[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(&file, &wrong).expect("writing");
        let error = frugal("a length", || load(folder.path()))
            .map(|_| ())
            .expect_err("too long");
        assert!(
            chain(&error).contains("safetensors"),
            "{length}: {}",
            chain(&error)
        );
    }
}

#[test]
fn a_tensor_as_large_as_the_sky_is_an_error() {
    let (folder, file) = victim();
    for (shape, offsets) in [
        ("[4294967296,4294967296]", "[0,4]"),
        ("[18446744073709551615,2]", "[0,18446744073709551615]"),
        ("[1000000000000]", "[0,4000000000000]"),
        ("[1]", "[4,0]"),
        ("[1]", "[8,12]"),
    ] {
        let header = format!(r#"{{"cls":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
        let length = (header.len() as u64).to_le_bytes();
        let bytes = [&length[..], header.as_bytes(), &[0; 4]].concat();
        fs::write(&file, bytes).expect("writing");
        let error = frugal("a large tensor", || load(folder.path()))
            .map(|_| ())
            .expect_err("too large");
        assert!(
            chain(&error).contains("safetensors"),
            "{shape}: {}",
            chain(&error)
        );
    }
}
