//! Stored features come back as they were, and a store that is not whole or not the right one is refused.

use blip2_data::features::{FeatureError, FeatureStore, FeatureWriter, content_key};
use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;

const TOKENS: usize = 3;
const WIDTH: usize = 5;

/// Rows whose values halves hold exactly: quarters of whole numbers.
fn rows(from: usize, to: usize) -> Tensor<3> {
    let values: Vec<f32> = (from * TOKENS * WIDTH..to * TOKENS * WIDTH)
        .map(|at| at as f32 / 4.0 - 20.0)
        .collect();
    Tensor::from_data(
        TensorData::new(values, [to - from, TOKENS, WIDTH]),
        &Device::flex(),
    )
}

fn values(tensor: Tensor<3>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 values")
}

fn write(path: &Path, key: &str) -> FeatureStore {
    let mut writer = FeatureWriter::create(path, key, 7, TOKENS, WIDTH).expect("a writable folder");
    writer.push(rows(0, 4)).expect("four rows");
    assert!(!path.exists(), "the store must not be there before it is whole");
    writer.push(rows(4, 7)).expect("three rows");
    writer.finish().expect("all rows are there")
}

#[test]
fn features_come_back_in_any_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.safetensors");
    let store = write(&path, "key");
    assert_eq!((store.count(), store.tokens(), store.width()), (7, TOKENS, WIDTH));
    let batch = store.batch(&[6, 0, 6], &Device::flex()).expect("rows that exist");
    assert_eq!(batch.dims(), [3, TOKENS, WIDTH]);
    let expected = Tensor::cat(vec![rows(6, 7), rows(0, 1), rows(6, 7)], 0);
    assert_eq!(values(batch), values(expected));
    assert_eq!(
        store.batch(&[], &Device::flex()).expect("nothing").dims(),
        [0, TOKENS, WIDTH]
    );
    assert!(matches!(
        store.batch(&[7], &Device::flex()),
        Err(FeatureError::OutOfRange {
            index: 7,
            count: 7,
            ..
        })
    ));
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 1, "only the store is left");
}

#[test]
fn values_are_rounded_to_the_nearest_half() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.safetensors");
    let exact = [0.1f32, -3.333_333_3, 1e-7, 65_504.0, 1234.567];
    let mut writer = FeatureWriter::create(&path, "key", 1, 1, 5).expect("a writable folder");
    writer
        .push(Tensor::from_data(
            TensorData::new(exact.to_vec(), [1, 1, 5]),
            &Device::flex(),
        ))
        .expect("one row");
    let store = writer.finish().expect("one row");
    let read = values(store.batch(&[0], &Device::flex()).expect("one row"));
    for (value, read) in exact.iter().zip(read) {
        // Eleven significant bits, or the smallest step near 0.
        assert!(
            (value - read).abs() <= (value.abs() / 2048.0).max(3e-8),
            "{value} became {read}"
        );
    }
}

#[test]
fn a_store_that_is_not_the_right_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.safetensors");
    write(&path, "old weights");
    let error = FeatureStore::open(&path, "new weights").expect_err("another key");
    assert!(matches!(error, FeatureError::WrongKey { .. }));
    assert!(
        error.to_string().contains("old weights") && error.to_string().contains("features.safetensors"),
        "{error}"
    );
    assert!(matches!(
        FeatureStore::open(&folder.path().join("none"), "key"),
        Err(FeatureError::Read { .. })
    ));

    let whole = std::fs::read(&path).expect("a file");
    for length in [0, 5, 8, 40, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).expect("written");
        let error = FeatureStore::open(&path, "old weights").expect_err("a cut file");
        assert!(
            matches!(error, FeatureError::Malformed { .. }),
            "{length} bytes: {error}"
        );
    }
    std::fs::write(&path, [&whole[..], b"x"].concat()).expect("written");
    assert!(matches!(
        FeatureStore::open(&path, "old weights"),
        Err(FeatureError::Malformed { .. })
    ));
}

#[test]
fn a_store_that_is_not_whole_is_never_put_in_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.safetensors");
    let begin = || FeatureWriter::create(&path, "key", 2, TOKENS, WIDTH).expect("a writable folder");

    let mut writer = begin();
    writer.push(rows(0, 1)).expect("one row");
    assert!(matches!(
        writer.finish(),
        Err(FeatureError::Count {
            expected: 2,
            found: 1,
            ..
        })
    ));
    assert!(matches!(
        begin().push(rows(0, 3)),
        Err(FeatureError::Count {
            expected: 2,
            found: 3,
            ..
        })
    ));
    let narrow = rows(0, 1).slice([0..1, 0..TOKENS, 0..WIDTH - 1]);
    assert!(matches!(begin().push(narrow), Err(FeatureError::Shape { .. })));
    let mut writer = begin();
    writer.push(rows(0, 1)).expect("one row");
    assert!(matches!(
        writer.push(rows(1, 2) * 1e6),
        Err(FeatureError::NotFinite { row: 1 })
    ));
    drop(writer);
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0,
        "nothing is left behind"
    );
    let nowhere = FeatureWriter::create(&folder.path().join("none/features"), "key", 1, 1, 1);
    assert!(matches!(nowhere, Err(FeatureError::Write { .. })));
}

#[test]
fn keys_tell_parts_apart() {
    assert_eq!(
        content_key(&["weights", "block 7"]),
        content_key(&["weights", "block 7"])
    );
    assert_ne!(
        content_key(&["weights", "block 7"]),
        content_key(&["weightsblock", " 7"])
    );
}

#[test]
fn a_row_without_a_picture_is_not_given_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.safetensors");
    let mut writer = FeatureWriter::create(&path, "key", 3, TOKENS, WIDTH).expect("a writable folder");
    let absent = Tensor::zeros([1, TOKENS, WIDTH], &Device::flex());
    writer
        .push(Tensor::cat(vec![rows(0, 1), absent, rows(1, 2)], 0))
        .expect("rows");
    let store = writer.finish().expect("all rows are there");
    assert!(store.batch(&[0, 2], &Device::flex()).is_ok());
    let error = store.batch(&[0, 1], &Device::flex()).expect_err("zeros");
    assert!(matches!(error, FeatureError::Absent { index: 1, .. }), "{error}");
    assert!(error.to_string().contains("delete"), "{error}");
}
