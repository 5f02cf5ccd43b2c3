//! Single safetensors files: written and read back bit for bit, or refused; never a panic.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use blip2_core::weights::{SafetensorsStore, TensorStore, WeightError, write_safetensors};
use burn::tensor::{DType, TensorData};
use half::{bf16, f16};

fn awkward() -> Vec<f32> {
    vec![
        0.0,
        -0.0,
        1.0,
        -1.5,
        f32::MIN_POSITIVE,
        1e-40,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        3.3,
        -7e-9,
    ]
}

fn tensors() -> Vec<(String, TensorData)> {
    let values = awkward();
    let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
    let brains: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
    vec![
        ("single".to_owned(), TensorData::new(values, [3, 4])),
        ("half".to_owned(), TensorData::new(halves, [2, 3, 2])),
        ("brain".to_owned(), TensorData::new(brains, [12])),
    ]
}

fn bytes(folder: &Path) -> Vec<u8> {
    let path = folder.join("whole.safetensors");
    write_safetensors(&path, &tensors(), HashMap::new()).expect("writing");
    fs::read(path).expect("what was written")
}

/// Opens `bytes` as a file and reads every tensor that it claims to have.
fn read_all(folder: &Path, bytes: &[u8]) -> Result<usize, WeightError> {
    let path = folder.join("damaged.safetensors");
    fs::write(&path, bytes).expect("writing");
    let store = SafetensorsStore::open(&path)?;
    for (name, info) in store.tensors() {
        let data = store.read(name)?;
        assert_eq!(
            (data.dtype(), data.shape().to_vec()),
            (info.dtype, info.shape.clone()),
            "{name}"
        );
    }
    Ok(store.tensors().len())
}

#[test]
fn writing_and_reading_is_the_identity() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("weights.safetensors");
    write_safetensors(&path, &tensors(), HashMap::new()).expect("writing");
    let store = SafetensorsStore::open(&path).expect("opening");
    assert_eq!(store.tensors().len(), 3);
    for ((name, expected), dtype) in tensors().into_iter().zip([DType::F32, DType::F16, DType::BF16]) {
        let found = store.read(&name).expect("reading");
        assert_eq!(found.dtype(), dtype, "{name}");
        assert_eq!(found.shape(), expected.shape(), "{name}");
        assert_eq!(found.as_bytes(), expected.as_bytes(), "{name}");
    }
    assert!(matches!(store.read("nobody"), Err(WeightError::Absent { name, .. }) if name == "nobody"));
}

#[test]
fn a_file_cut_off_anywhere_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("folder");
    let whole = bytes(folder.path());
    assert_eq!(read_all(folder.path(), &whole).expect("the whole file"), 3);
    for cut in (0..100).map(|index| index * whole.len() / 100) {
        match read_all(folder.path(), &whole[..cut]) {
            Ok(count) => panic!("{cut} of {} bytes were read as {count} tensors", whole.len()),
            Err(error) => assert!(
                error.to_string().contains("damaged.safetensors"),
                "{cut}: {error}"
            ),
        }
    }
}

#[test]
fn a_flipped_bit_in_the_header_is_an_error_or_another_readable_file() {
    let folder = tempfile::tempdir().expect("folder");
    let whole = bytes(folder.path());
    let length: [u8; 8] = whole[..8].try_into().expect("eight bytes");
    let header = 8 + u64::from_le_bytes(length) as usize;
    let mut refused = 0;
    for index in 0..100 {
        let mut damaged = whole.clone();
        damaged[index * header / 100] ^= 1 << (index % 8);
        match read_all(folder.path(), &damaged) {
            Ok(_) => {}
            Err(error) => {
                assert!(
                    error.to_string().contains("damaged.safetensors"),
                    "{index}: {error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "only {refused} of 100 damaged headers were noticed");
}

#[test]
fn a_refused_write_names_the_file_and_keeps_the_former_one() {
    let folder = tempfile::tempdir().expect("folder");
    let nowhere = folder.path().join("no-such-folder").join("weights.safetensors");
    let error = write_safetensors(&nowhere, &tensors(), HashMap::new()).unwrap_err();
    assert!(
        matches!(&error, WeightError::Io { path, .. } if *path == nowhere),
        "{error}"
    );

    let path = folder.path().join("weights.safetensors");
    write_safetensors(&path, &tensors(), HashMap::new()).expect("writing");
    let before = fs::read(&path).expect("bytes");
    let unsupported = [("flags".to_owned(), TensorData::new(vec![true, false], [2]))];
    let error = write_safetensors(&path, &unsupported, HashMap::new()).unwrap_err();
    assert!(error.to_string().contains("flags"), "{error}");
    assert_eq!(fs::read(&path).expect("bytes"), before);
}
