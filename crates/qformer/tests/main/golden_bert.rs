//! The text branch and the language head, started from a BERT, are that BERT (`BertForMaskedLM` of `transformers`).

use std::collections::HashMap;
use std::path::Path;

use blip2_core::Initializer;
use blip2_core::weights::{SafetensorsStore, TensorStore, write_safetensors};
use blip2_golden::{Array, Model, TensorFile, device, each, models, tolerance};
use blip2_qformer::{QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch, load_bert};
use burn::tensor::{Tensor, TensorData};

const POSITIONS: &str = "bert.embeddings.position_embeddings.weight";
const SEGMENTS: &str = "bert.embeddings.token_type_embeddings.weight";

/// The weights of `model` with the first segment's embedding added to every position: the Q-Former knows no segments.
fn without_segments(model: &Model, folder: &Path) -> SafetensorsStore {
    let store = SafetensorsStore::open(&model.path).unwrap();
    let values = |name: &str| {
        store
            .read(name)
            .unwrap()
            .convert::<f32>()
            .try_to_vec::<f32>()
            .unwrap()
    };
    let segments = values(SEGMENTS);
    let shape = store.tensors()[POSITIONS].shape.clone();
    let first = segments[..shape[1]].iter().cycle();
    let positions: Vec<f32> = values(POSITIONS)
        .iter()
        .zip(first)
        .map(|(position, segment)| position + segment)
        .collect();
    let positions = TensorData::new(positions, shape);
    let tensors: Vec<_> = store
        .tensors()
        .keys()
        .map(|name| match name.as_str() {
            POSITIONS => (name.clone(), positions.clone()),
            _ => (name.clone(), store.read(name).unwrap()),
        })
        .collect();
    let path = folder.join("bert.safetensors");
    write_safetensors(&path, &tensors, HashMap::new()).unwrap();
    SafetensorsStore::open(&path).unwrap()
}

/// What `array` `[batch, tokens, width]` has at the real tokens of `rows`.
fn real(array: &Array, rows: &[Vec<u32>]) -> Vec<f64> {
    let [_, tokens, width] = array.shape[..] else {
        panic!("three dimensions")
    };
    let row = |(index, row): (usize, &Vec<u32>)| {
        let start = index * tokens * width;
        array.values[start..start + row.len() * width].to_vec()
    };
    rows.iter().enumerate().flat_map(row).collect()
}

fn texts(expected: &TensorFile) -> Vec<Vec<u32>> {
    let masks = expected.ids("attention_mask");
    let rows = expected.ids("input_ids").into_iter().zip(masks);
    rows.map(|(ids, mask)| {
        let real = ids.into_iter().zip(mask).filter(|(_, real)| *real == 1);
        real.map(|(id, _)| id).collect()
    })
    .collect()
}

#[test]
fn text_started_from_bert_is_read_as_bert_reads_it() {
    each(models("BertForMaskedLM"), |model| {
        let folder = tempfile::tempdir().unwrap();
        let config = RepresentationConfig {
            qformer: QFormerConfig {
                hidden_dropout_prob: 0.0,
                attention_probs_dropout_prob: 0.0,
                ..serde_json::from_value(model.config.clone()).unwrap()
            },
            ..RepresentationConfig::default()
        };
        let random = RepresentationModel::new(&mut Initializer::new(0, &device()), &config).unwrap();
        let bert = load_bert(random, &without_segments(&model, folder.path())).unwrap();

        let expected = model.expected();
        let rows = texts(&expected);
        let batch = TextBatch::new(rows.clone(), &device()).unwrap();
        let hidden = bert.qformer.text_pass(&batch, None).unwrap();
        let [texts, tokens, width] = hidden.dims();
        let logits = bert
            .language_head
            .logits(hidden.clone().reshape([texts * tokens, width]), bert.decoder());
        let vocabulary = logits.dims()[1];
        let logits = logits.reshape([texts, tokens, vocabulary]);
        let mut check = model.check();
        for (name, ours) in [("last_hidden", hidden), ("logits", logits)] {
            check.close(
                name,
                &real(&array(ours), &rows),
                &real(&expected.array(name), &rows),
                tolerance::FEATURES,
            );
        }
    });
}

fn array(tensor: Tensor<3>) -> Array {
    Array {
        shape: tensor.dims().to_vec(),
        values: tensor.into_data().iter::<f64>().collect(),
    }
}
