//! GGUF files, whole and damaged.

mod builder;

use std::io::Write;
use std::path::PathBuf;

use half::{bf16, f16};
use tempfile::TempDir;

use super::{GgufStore, GgufValue};
use crate::weights::{TensorStore, WeightError};
use builder::{GgufBuilder, text};

fn open(bytes: &[u8]) -> (TempDir, Result<GgufStore, WeightError>) {
    let folder = TempDir::new().unwrap();
    let path: PathBuf = folder.path().join("model.gguf");
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    let store = GgufStore::open(&path);
    (folder, store)
}

/// Opens `bytes`, which must fail as a damaged file that is named, and gives the reason.
fn reason(bytes: &[u8]) -> String {
    match open(bytes).1 {
        Err(WeightError::Format {
            path,
            format: "GGUF",
            reason,
        }) => {
            assert!(path.ends_with("model.gguf"));
            reason
        }
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("the file was taken"),
    }
}

fn values(store: &GgufStore, name: &str) -> Vec<f32> {
    store.read(name).unwrap().iter().collect()
}

#[test]
fn every_type_of_metadata_is_read() {
    let list = [
        &8u32.to_le_bytes()[..],
        &2u64.to_le_bytes(),
        &text("a"),
        &text("b"),
    ]
    .concat();
    let bytes = GgufBuilder::default()
        .metadata("u8", 0, &[200])
        .metadata("i8", 1, &(-3i8).to_le_bytes())
        .metadata("u16", 2, &60_000u16.to_le_bytes())
        .metadata("i16", 3, &(-300i16).to_le_bytes())
        .metadata("u32", 4, &70_000u32.to_le_bytes())
        .metadata("i32", 5, &7i32.to_le_bytes())
        .metadata("f32", 6, &1.5f32.to_le_bytes())
        .metadata("bool", 7, &[1])
        .metadata("text", 8, &text("grün"))
        .metadata("list", 9, &list)
        .metadata("u64", 10, &(1u64 << 40).to_le_bytes())
        .metadata("i64", 11, &(-1i64).to_le_bytes())
        .metadata("f64", 12, &2.5f64.to_le_bytes())
        .bytes();
    let (_folder, store) = open(&bytes);
    let store = store.unwrap();
    let number = |key: &str| store.required(key, GgufValue::as_u64).ok();
    let numbers = ["u8", "u16", "u32", "i32", "u64"].map(number);
    assert_eq!(
        numbers,
        [Some(200), Some(60_000), Some(70_000), Some(7), Some(1 << 40)]
    );
    assert_eq!(["i8", "i16", "i64", "f32", "absent"].map(number), [None; 5]);
    assert_eq!(store.required("f32", GgufValue::as_f64).unwrap(), 1.5);
    assert_eq!(store.required("f64", GgufValue::as_f64).unwrap(), 2.5);
    assert!(store.required("bool", GgufValue::as_bool).unwrap());
    assert_eq!(store.required("text", GgufValue::as_text).unwrap(), "grün");
    assert_eq!(store.required("list", GgufValue::as_texts).unwrap(), ["a", "b"]);
    assert_eq!(store.optional("absent", GgufValue::as_text).unwrap(), None);
}

#[test]
fn every_storage_is_dequantised_and_shapes_are_outermost_first() {
    let scale = f16::from_f32(0.5).to_le_bytes();
    let minimum = f16::from_f32(-2.0).to_le_bytes();
    let nibbles: Vec<u8> = (0..16).map(|index| index | (15 - index) << 4).collect();
    let quants: Vec<u8> = (0..32).map(|index| (index as i8 - 16) as u8).collect();
    let plain = [1.5f32, -2.0, 0.25, 8.0, 0.0, -1.0];
    let bytes = GgufBuilder::default()
        .tensor(
            "f32",
            &[3, 2],
            0,
            &plain
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect::<Vec<_>>(),
        )
        .tensor(
            "f16",
            &[2, 3],
            1,
            &plain
                .iter()
                .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                .collect::<Vec<_>>(),
        )
        .tensor(
            "bf16",
            &[6],
            30,
            &plain
                .iter()
                .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                .collect::<Vec<_>>(),
        )
        .tensor("q4_0", &[32], 2, &[&scale[..], &nibbles].concat())
        .tensor("q4_1", &[32], 3, &[&scale[..], &minimum, &nibbles].concat())
        .tensor(
            "q8_0",
            &[32, 2],
            8,
            &[&scale[..], &quants, &scale, &quants].concat(),
        )
        .bytes();
    let (_folder, store) = open(&bytes);
    let store = store.unwrap();
    let shape = |name: &str| store.tensors()[name].shape.clone();
    assert_eq!(
        [shape("f32"), shape("f16"), shape("q8_0")],
        [vec![2, 3], vec![3, 2], vec![2, 32]]
    );
    assert!(
        ["f32", "f16", "bf16"]
            .iter()
            .all(|name| values(&store, name) == plain)
    );
    let ramp: Vec<f32> = (0..16).chain((0..16).rev()).map(|quant| quant as f32).collect();
    assert_eq!(
        values(&store, "q4_0"),
        ramp.iter().map(|quant| 0.5 * (quant - 8.0)).collect::<Vec<_>>()
    );
    assert_eq!(
        values(&store, "q4_1"),
        ramp.iter().map(|quant| 0.5 * quant - 2.0).collect::<Vec<_>>()
    );
    let row = (0..32).map(|index| 0.5 * (index - 16) as f32);
    assert_eq!(values(&store, "q8_0"), row.clone().chain(row).collect::<Vec<_>>());
    assert!(matches!(store.read("absent"), Err(WeightError::Absent { .. })));
}

/// Made by `tests/peer/gguf_blocks.py` with the format's own Python package.
#[test]
fn blocks_of_random_bits_stand_for_what_the_reference_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/weights/gguf/tests/blocks.gguf");
    let store = GgufStore::open(path.as_ref()).unwrap();
    let formats: Vec<&String> = store
        .tensors()
        .keys()
        .filter(|name| !name.contains('.'))
        .collect();
    assert_eq!(formats.len(), 10, "{formats:?}");
    for format in formats {
        assert_eq!(store.tensors()[format].shape, [2, 512]);
        let expected = values(&store, &format!("{format}.values"));
        for (place, (ours, expected)) in values(&store, format).iter().zip(expected).enumerate() {
            // Scale times level, less minimum: rounded as there, bit by bit.
            assert_eq!(*ours, expected, "{format}, value {place}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = GgufBuilder::default()
        .metadata("general.architecture", 8, &text("llama"))
        .metadata(
            "list",
            9,
            &[&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &9u32.to_le_bytes()].concat(),
        )
        .tensor("weight", &[4], 0, &[1; 16])
        .bytes();
    assert!(open(&whole).1.is_ok());
    for length in 0..whole.len() {
        reason(&whole[..length]);
    }
}

#[test]
fn no_single_damaged_byte_makes_a_panic() {
    let whole = GgufBuilder::default()
        .metadata(
            "list",
            9,
            &[&4u32.to_le_bytes()[..], &1u64.to_le_bytes(), &9u32.to_le_bytes()].concat(),
        )
        .tensor("weight", &[32, 2], 8, &[1; 68])
        .bytes();
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] = value;
            if let (_folder, Ok(store)) = open(&damaged) {
                for name in store.tensors().keys() {
                    store.read(name).unwrap();
                }
            }
        }
    }
}

#[test]
fn hostile_headers_are_refused_before_memory_is_asked_for() {
    let huge = (1u64 << 60).to_le_bytes();
    let header = |tensors: u64, entries: u64| {
        [
            &GgufStore::MAGIC[..],
            &3u32.to_le_bytes(),
            &tensors.to_le_bytes(),
            &entries.to_le_bytes(),
        ]
        .concat()
    };
    assert!(reason(&header(1 << 60, 0)).contains("tensors"));
    assert!(reason(&header(0, 1 << 60)).contains("metadata entries"));
    assert!(reason(&[&header(0, 1)[..], &huge, &[0; 16]].concat()).contains("text"));
    let array = [&4u32.to_le_bytes()[..], &huge].concat();
    assert!(reason(&GgufBuilder::default().metadata("list", 9, &array).bytes()).contains("array elements"));
    let nested: Vec<u8> = (0..9)
        .flat_map(|_| [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat())
        .collect();
    assert!(
        reason(
            &GgufBuilder::default()
                .metadata("nested", 9, &[&nested[..], &[0; 64]].concat())
                .bytes()
        )
        .contains("nested")
    );
    for alignment in [0u32, 24, 1 << 31] {
        let builder = GgufBuilder::default().metadata("general.alignment", 4, &alignment.to_le_bytes());
        assert!(reason(&builder.bytes()).contains("general.alignment"));
    }
}

#[test]
fn hostile_tensors_are_refused() {
    let tensor = |dimensions: &[u64], code: u32, offset: u64| {
        reason(
            &GgufBuilder::default()
                .tensor("first", &[8], 0, &[0; 32])
                .info("bad", dimensions, code, offset)
                .bytes(),
        )
    };
    assert!(tensor(&[], 0, 0).contains("0 dimensions"));
    assert!(tensor(&[1; 5], 0, 0).contains("5 dimensions"));
    assert!(tensor(&[1 << 40, 1 << 40], 0, 0).contains("too large"));
    assert!(tensor(&[1 << 62], 0, 0).contains("too large"));
    assert!(tensor(&[9], 0, 0).contains("36 bytes"));
    assert!(tensor(&[1], 0, 1 << 62).contains("truncated"));
    assert!(tensor(&[1], 0, 64).contains("truncated"));
    assert!(tensor(&[1], 0, 16).contains("alignment"));
    assert!(tensor(&[16], 8, 0).contains("blocks"));
    assert!(tensor(&[128], 12, 0).contains("blocks of 256"));
    assert!(tensor(&[256], 16, 0).contains("ggml type 16"));
    let twice = GgufBuilder::default()
        .tensor("a", &[1], 0, &[0; 4])
        .tensor("a", &[1], 0, &[0; 4]);
    assert!(reason(&twice.bytes()).contains("twice"));
}

#[test]
fn other_files_are_refused_by_their_first_bytes() {
    let mut other = GgufBuilder::default().bytes();
    other[4] = 1;
    assert!(reason(&other).contains("version is 1"));
    other[0] = b'X';
    assert!(reason(&other).contains("does not begin"));
    let (_folder, store) = open(b"");
    assert!(store.is_err());
}
