//! Small good files of the formats that the golden data has none of, or only large ones.

#[path = "../../../../crates/core/src/weights/gguf/tests/builder.rs"]
mod builder;

use std::path::Path;

use blip2_core::weights::{SafetensorsStore, write_pytorch, write_safetensors};
use blip2_data::features::FeatureWriter;
use blip2_fuzzing::FEATURES_KEY;
use burn::tensor::{Device, Tensor, TensorData};

use builder::{GgufBuilder, text};

/// Numbers of GGUF's types.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// What `write` puts into a file.
fn file(write: impl FnOnce(&Path)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    write(&path);
    std::fs::read(path).expect("what was written")
}

/// Two rows of features.
pub(crate) fn features() -> Vec<u8> {
    file(|path| {
        let mut writer = FeatureWriter::create(path, FEATURES_KEY, 2, 3, 4).expect("a file");
        let rows = Tensor::ones([2, 3, 4], &Device::flex());
        writer.push(rows).expect("rows that fit");
        writer.finish().expect("all rows");
    })
}

/// Two tensors, below `model` as LAVIS has them.
pub(crate) fn pickle() -> Vec<u8> {
    let tensors = ["a.weight", "b.bias"].map(|name| (name.to_owned(), TensorData::from([1.0_f32, 2.0])));
    file(|path| {
        let from = path.with_extension("safetensors");
        write_safetensors(&from, &tensors, Default::default()).expect("a file");
        let store = SafetensorsStore::open(&from).expect("what was written");
        write_pytorch(path, "model", &store).expect("a file");
    })
}

/// `vocab.json`, an empty line, `merges.txt`.
pub(crate) fn byte_pairs() -> Vec<u8> {
    let vocabulary =
        r#"{"<pad>":0,"<s>":1,"</s>":2,"A":3,"p":4,"h":5,"o":6,"t":7,"ph":8,"\u0120":9,"ot":10}"#;
    format!("{vocabulary}\n\n#version: 0.2\np h\no t\n").into_bytes()
}

/// A matrix without a name of its own that is added to a bias, as PyTorch's exporter writes it.
pub(crate) fn onnx() -> Vec<u8> {
    let tensor = |name: &str, extents: &[u8], values: usize| {
        let extents = extents.iter().flat_map(|extent| [8, *extent]).collect();
        let content = [
            extents,
            vec![16, 1],
            field(8, name.as_bytes()),
            field(9, &vec![0; 4 * values]),
        ];
        field(5, &content.concat())
    };
    let node = |operation: &str, inputs: [&str; 2], output: &str| {
        let inputs = inputs.map(|name| field(1, name.as_bytes())).concat();
        let content = [
            inputs,
            field(2, output.as_bytes()),
            field(4, operation.as_bytes()),
        ];
        field(1, &content.concat())
    };
    let graph = [
        tensor("a.bias", &[2], 2),
        tensor("onnx::MatMul_7", &[3, 2], 6),
        node("MatMul", ["x", "onnx::MatMul_7"], "product"),
        node("Add", ["a.bias", "product"], "y"),
    ];
    [vec![8, 8], field(7, &graph.concat())].concat()
}

/// A field of a protocol buffer that holds bytes, fewer than 128 times 128 of them.
fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let length = match length {
        0..128 => vec![length as u8],
        _ => vec![length as u8 | 0x80, (length >> 7) as u8],
    };
    [&[tag << 3 | 2][..], &length, content].concat()
}

/// Files with the sizes of a Llama and each kind of tokenizer, and one tensor.
pub(crate) fn ggufs() -> Vec<Vec<u8>> {
    let bytes = ["gpt2", "llama"].map(|kind| {
        let number = |value: u32| value.to_le_bytes().to_vec();
        let names = ["<unk>", "<s>", "</s>", "a", "p", "ap", "\u{2581}a", "<0x0A>"];
        let list = |code: u32, values: Vec<Vec<u8>>| {
            let count = (values.len() as u64).to_le_bytes();
            [&code.to_le_bytes()[..], &count, &values.concat()].concat()
        };
        let types = [2, 3, 3, 1, 1, 1, 1, 6].map(number).to_vec();
        let scores = names
            .map(|name| (name.len() as f32).to_le_bytes().to_vec())
            .to_vec();
        let entries = [
            ("general.architecture", TEXT, text("llama")),
            ("llama.embedding_length", U32, number(8)),
            ("llama.feed_forward_length", U32, number(16)),
            ("llama.block_count", U32, number(1)),
            ("llama.attention.head_count", U32, number(2)),
            ("llama.context_length", U32, number(32)),
            (
                "llama.attention.layer_norm_rms_epsilon",
                F32,
                1e-5_f32.to_le_bytes().to_vec(),
            ),
            ("tokenizer.ggml.model", TEXT, text(kind)),
            ("tokenizer.ggml.pre", TEXT, text("smollm")),
            (
                "tokenizer.ggml.tokens",
                ARRAY,
                list(TEXT, names.map(text).to_vec()),
            ),
            ("tokenizer.ggml.token_type", ARRAY, list(I32, types)),
            ("tokenizer.ggml.scores", ARRAY, list(F32, scores)),
            ("tokenizer.ggml.merges", ARRAY, list(TEXT, vec![text("a p")])),
            ("tokenizer.ggml.unknown_token_id", U32, number(0)),
            ("tokenizer.ggml.bos_token_id", U32, number(1)),
            ("tokenizer.ggml.eos_token_id", U32, number(2)),
        ];
        let sizes = entries
            .into_iter()
            .fold(GgufBuilder::default(), |builder, (key, code, value)| {
                builder.metadata(key, code, &value)
            });
        sizes.tensor("token_embd.weight", &[8, 8], 0, &[0; 256]).bytes()
    });
    bytes.into()
}
