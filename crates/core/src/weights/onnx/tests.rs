//! ONNX files, whole and damaged.

use super::*;

fn number(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn field(tag: u64, content: &[u8]) -> Vec<u8> {
    [
        number(tag << 3 | 2),
        number(content.len() as u64),
        content.to_vec(),
    ]
    .concat()
}

fn flag(tag: u64, value: u64) -> Vec<u8> {
    [number(tag << 3), number(value)].concat()
}

fn tensor(name: &str, shape: &[u64], values: &[f32]) -> Vec<u8> {
    let dims = shape.iter().flat_map(|extent| flag(1, *extent)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    field(
        5,
        &[dims, flag(2, 1), field(8, name.as_bytes()), field(9, &raw)].concat(),
    )
}

fn node(operation: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
    field(
        1,
        &[
            inputs,
            field(2, output.as_bytes()),
            field(4, operation.as_bytes()),
            attributes.to_vec(),
        ]
        .concat(),
    )
}

fn model(entries: &[Vec<u8>]) -> Vec<u8> {
    [flag(1, 8), field(7, &entries.concat()), field(8, b"opset")].concat()
}

fn open(bytes: &[u8]) -> Result<OnnxStore, WeightError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    OnnxStore::open(&path)
}

fn reason(bytes: &[u8]) -> String {
    match open(bytes) {
        Err(error @ WeightError::Format { .. }) => {
            let text = error.to_string();
            assert!(text.contains("model.onnx"), "{text}");
            text
        }
        Err(other) => panic!("not a format error: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Two linear layers: one as `MatMul` and `Add`, one as `Gemm`; and a scale that keeps its name.
fn layers(transposed: u64) -> Vec<u8> {
    let attribute = field(5, &[field(1, b"transB"), flag(3, transposed)].concat());
    model(&[
        tensor("a.bias", &[2], &[0.0; 2]),
        tensor("onnx::MatMul_7", &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        tensor("onnx::Gemm_8", &[1, 2], &[6.0, 7.0]),
        tensor("b.bias", &[2], &[0.0; 2]),
        tensor("a.scale", &[], &[8.0]),
        node("MatMul", &["x", "onnx::MatMul_7"], "product", &[]),
        node("Add", &["a.bias", "product"], "y", &[]),
        node("Gemm", &["y", "onnx::Gemm_8", "b.bias"], "z", &attribute),
    ])
}

fn values(store: &OnnxStore, name: &str) -> Vec<f32> {
    store.read(name).unwrap().try_to_vec().unwrap()
}

#[test]
fn layers_are_named_by_their_bias_and_laid_out_as_pytorch_does() {
    let store = open(&layers(0)).unwrap();
    let names: Vec<&str> = store.tensors().keys().map(String::as_str).collect();
    assert_eq!(names, ["a.bias", "a.scale", "a.weight", "b.bias", "b.weight"]);
    assert_eq!(store.tensors()["a.weight"].shape, [2, 3]);
    assert_eq!(values(&store, "a.weight"), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    assert_eq!(store.tensors()["b.weight"].shape, [2, 1]);
    assert_eq!(values(&store, "b.weight"), [6.0, 7.0]);
    assert_eq!(values(&store, "a.scale"), [8.0]);
}

#[test]
fn a_gemm_that_transposes_keeps_its_layout() {
    assert_eq!(open(&layers(1)).unwrap().tensors()["b.weight"].shape, [1, 2]);
}

#[test]
fn an_unknown_name_is_an_error() {
    assert!(matches!(
        open(&layers(0)).unwrap().read("c.weight"),
        Err(WeightError::Absent { .. })
    ));
}

#[test]
fn every_truncation_is_an_error() {
    let whole = layers(0);
    // A cut right behind the graph leaves a valid message: protobuf has no end mark.
    let graph_end = whole.len() - field(8, b"opset").len();
    for length in (0..whole.len()).filter(|length| *length != graph_end) {
        reason(&whole[..length]);
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let whole = layers(0);
    let mut refused = 0;
    for position in 0..whole.len() {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[position] = value;
            match open(&bytes) {
                Ok(store) => store
                    .tensors()
                    .keys()
                    .for_each(|name| drop(store.read(name).unwrap())),
                Err(error) => {
                    assert!(matches!(error, WeightError::Format { .. }), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > whole.len());
}

#[test]
fn what_cannot_be_read_is_named() {
    let huge = tensor("huge", &[u64::MAX, 2], &[1.0]);
    assert!(reason(&model(&[huge])).contains("`huge`"));
    let short = tensor("short", &[3], &[1.0]);
    assert!(reason(&model(&[short])).contains("4 bytes of values"));
    let twice = tensor("twice", &[1], &[1.0]);
    assert!(reason(&model(&[twice.clone(), twice])).contains("two tensors are named `twice`"));
    let deep = tensor("deep", &[1; 9], &[1.0]);
    assert!(reason(&model(&[deep])).contains("8 dimensions"));
    let text = field(5, &[flag(1, 1), flag(2, 8), field(8, b"words")].concat());
    assert!(reason(&model(&[text])).contains("number format 8"));
    let outside = field(
        5,
        &[flag(1, 1), flag(2, 1), field(8, b"outside"), flag(14, 1)].concat(),
    );
    assert!(reason(&model(&[outside])).contains("another file"));
    assert!(reason(b"\x89PNG\r\n\x1a\n, say").contains("model.onnx"));
    assert!(reason(b"").contains("no graph"));
}

#[test]
fn a_missing_file_is_an_input_error() {
    assert!(matches!(
        OnnxStore::open(Path::new("no such file.onnx")),
        Err(WeightError::Io { .. })
    ));
}

#[test]
fn two_layers_must_not_claim_one_name() {
    let entries = [
        tensor("a.bias", &[1], &[0.0]),
        tensor("a.weight", &[1], &[0.0]),
        tensor("onnx::MatMul_1", &[1, 1], &[0.0]),
        node("MatMul", &["x", "onnx::MatMul_1"], "p", &[]),
        node("Add", &["p", "a.bias"], "y", &[]),
    ];
    assert!(reason(&model(&entries)).contains("claim the name `a.weight`"));
}
