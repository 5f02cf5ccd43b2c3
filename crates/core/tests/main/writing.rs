//! Writing: what was written is read back, in every form; what fails leaves nothing.

use std::collections::BTreeMap;
use std::fs;

use blip2_core::weights::{
    Assembled, Part, PytorchStore, SafetensorsStore, TensorInfo, TensorStore, Views, WeightError,
    write_pytorch, write_shards, write_store,
};
use burn::tensor::{DType, TensorData};

/// Tensors of several formats and numbers of dimensions, a scalar and an empty one among them.
fn tensors() -> Vec<(&'static str, TensorData)> {
    let numbers = |count: usize| (0..count).map(|value| value as f32 - 2.5).collect::<Vec<f32>>();
    vec![
        ("matrix", TensorData::new(numbers(6), [2, 3])),
        ("half", TensorData::new(numbers(4), [4]).convert_dtype(DType::F16)),
        (
            "brain",
            TensorData::new(numbers(8), [2, 2, 2]).convert_dtype(DType::BF16),
        ),
        ("whole", TensorData::new(vec![1_i64 << 40, -7], [2])),
        ("scalar", TensorData::new(numbers(1), [1])),
    ]
}

fn store() -> Assembled<'static> {
    let mut store = Assembled::new("memory");
    for (name, data) in tensors() {
        let shape = match name {
            "scalar" => Vec::new(),
            _ => data.shape().to_vec(),
        };
        let info = TensorInfo {
            dtype: data.dtype(),
            shape,
        };
        store.put(name, info, Part::Values(data));
    }
    store.joined()
}

fn assert_holds(read: &dyn TensorStore) {
    let expected: BTreeMap<_, _> = tensors().into_iter().collect();
    assert_eq!(read.tensors().len(), expected.len());
    for (name, data) in expected {
        assert_eq!(read.read(name).expect("tensor"), data, "{name}");
    }
}

#[test]
fn a_file_of_safetensors_holds_what_was_written() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("some.safetensors");
    write_store(&path, &store()).expect("writing");
    assert_holds(&SafetensorsStore::open(&path).expect("opening"));
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
}

#[test]
fn a_file_of_torch_holds_what_was_written() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("some.pth");
    write_pytorch(&path, "model", &store()).expect("writing");
    assert_holds(&PytorchStore::open(&path).expect("opening"));
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
}

#[test]
fn shards_hold_no_more_than_they_may_and_together_all() {
    for (limit, files) in [(usize::MAX, 1), (40, 4), (1, 6)] {
        let folder = tempfile::tempdir().expect("folder");
        write_shards(folder.path(), &store(), limit).expect("writing");
        assert_holds(&SafetensorsStore::open(folder.path()).expect("opening"));
        let names: Vec<_> = fs::read_dir(folder.path())
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
            .collect();
        assert_eq!(names.len(), files, "{names:?}");
        assert_eq!(names.contains(&"model.safetensors".to_owned()), files == 1);
    }
}

#[test]
fn thirds_become_one_tensor_and_an_absent_key_is_zero() {
    let third = |first: f32| TensorData::new(vec![first, first + 1.0], [2]);
    let info = TensorInfo {
        dtype: DType::F32,
        shape: vec![2],
    };
    let mut fused = Assembled::new("memory");
    for (name, part) in [("bias[value]", third(5.0)), ("bias[query]", third(1.0))] {
        fused.put(name, info.clone(), Part::Values(part));
    }
    let fused = fused.joined();
    let whole = fused.read("bias").expect("joined");
    assert_eq!(
        whole,
        TensorData::new(vec![1.0_f32, 2.0, 0.0, 0.0, 5.0, 6.0], [6])
    );
    let thirds = Views::below(&fused, "").split("bias");
    for (name, part) in [
        ("bias[query]", third(1.0)),
        ("bias[key]", TensorData::new(vec![0.0_f32; 2], [2])),
        ("bias[value]", third(5.0)),
    ] {
        assert_eq!(thirds.read(name).expect("third"), part, "{name}");
    }
}

#[test]
fn a_source_that_fails_leaves_no_file() {
    let empty = Assembled::new("nowhere");
    let info = TensorInfo {
        dtype: DType::F32,
        shape: vec![2],
    };
    let mut store = store();
    store.put("ghost", info, Part::Stored(&empty, "ghost".to_owned()));
    let folder = tempfile::tempdir().expect("folder");
    for error in [
        write_store(&folder.path().join("a.safetensors"), &store).unwrap_err(),
        write_pytorch(&folder.path().join("a.pth"), "model", &store).unwrap_err(),
        write_shards(folder.path(), &store, usize::MAX).unwrap_err(),
    ] {
        assert!(
            matches!(&error, WeightError::Absent { name, .. } if name == "ghost"),
            "{error}"
        );
    }
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
}

#[test]
fn a_disk_that_refuses_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("absent").join("some.pth");
    let error = write_pytorch(&path, "model", &store()).unwrap_err();
    assert!(matches!(error, WeightError::Io { .. }), "{error}");
    assert!(error.to_string().contains("some.pth"), "{error}");
}
