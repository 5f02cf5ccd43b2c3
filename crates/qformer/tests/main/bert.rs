//! Starting from a BERT: what is copied, what stays new, and what is refused.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use blip2_core::Initializer;
use blip2_core::weights::{SafetensorsStore, WeightError, collect, fingerprint, write_safetensors};
use blip2_qformer::{RepresentationModel, load_bert};
use burn::tensor::{Device, TensorData};

use crate::tiny;

/// Our names and BERT's for what stands outside of the layers.
const OUTSIDE: [(&str, &str); 3] = [
    (
        "qformer.text_embeddings.position_embeddings.weight",
        "embeddings.position_embeddings.weight",
    ),
    ("qformer.layer_norm.weight", "embeddings.LayerNorm.weight"),
    ("qformer.layer_norm.bias", "embeddings.LayerNorm.bias"),
];
/// The same for what each layer has, once for weights and once for biases.
const LAYER: [(&str, &str); 10] = [
    ("attention.query", "attention.self.query"),
    ("attention.key", "attention.self.key"),
    ("attention.value", "attention.self.value"),
    ("attention.dense", "attention.output.dense"),
    ("attention.layer_norm", "attention.output.LayerNorm"),
    ("text_feed_forward.intermediate", "intermediate.dense"),
    ("text_feed_forward.output", "output.dense"),
    ("text_feed_forward.layer_norm", "output.LayerNorm"),
    ("query_feed_forward.intermediate", "intermediate.dense"),
    ("query_feed_forward.output", "output.dense"),
];
const WORDS: &str = "qformer.text_embeddings.word_embeddings.weight";
const HEAD: [(&str, &str); 4] = [
    (
        "language_head.dense.weight",
        "cls.predictions.transform.dense.weight",
    ),
    ("language_head.dense.bias", "cls.predictions.transform.dense.bias"),
    (
        "language_head.layer_norm.weight",
        "cls.predictions.transform.LayerNorm.weight",
    ),
    (
        "language_head.layer_norm.bias",
        "cls.predictions.transform.LayerNorm.bias",
    ),
];

/// Our name of each parameter that BERT gives whole, and BERT's.
fn given() -> BTreeMap<String, String> {
    let named = |ours: &str, theirs: &str| (ours.to_owned(), theirs.to_owned());
    let mut names: BTreeMap<_, _> = OUTSIDE.iter().map(|(ours, theirs)| named(ours, theirs)).collect();
    let norm = [("query_feed_forward.layer_norm", "output.LayerNorm")];
    for layer in 0..tiny::config().qformer.num_hidden_layers {
        for (ours, theirs) in LAYER.iter().chain(&norm) {
            for part in ["weight", "bias"] {
                let ours = format!("qformer.layers.{layer}.{ours}.{part}");
                names.insert(ours, format!("encoder.layer.{layer}.{theirs}.{part}"));
            }
        }
    }
    names
}

fn fresh() -> RepresentationModel {
    tiny::model(&tiny::config(), &Device::flex())
}

fn random(shape: &[usize], seed: usize) -> TensorData {
    let count = shape.iter().product();
    let drawn = Initializer::new(seed as u64, &Device::flex()).normal([count], 1.0);
    let values = drawn.val().into_data().try_to_vec::<f32>().expect("f32");
    TensorData::new(values, shape.to_vec())
}

/// A BERT of the model's own sizes, with one word piece less: `[DEC]`.
fn bert(with_head: bool) -> BTreeMap<String, TensorData> {
    let shapes: BTreeMap<_, _> = collect(&fresh())
        .into_iter()
        .map(|(path, data)| (path, data.shape().to_vec()))
        .collect();
    let mut names: Vec<(String, String)> = given().into_iter().collect();
    if with_head {
        names.extend(HEAD.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())));
    }
    let mut tensors: BTreeMap<_, _> = names
        .iter()
        .enumerate()
        .map(|(seed, (ours, theirs))| (theirs.clone(), random(&shapes[ours], seed)))
        .collect();
    let [words, width] = shapes[WORDS][..] else {
        panic!("a table")
    };
    tensors.insert(
        "embeddings.word_embeddings.weight".to_owned(),
        random(&[words - 1, width], 1000),
    );
    tensors.insert(
        "embeddings.token_type_embeddings.weight".to_owned(),
        random(&[2, width], 1001),
    );
    tensors.insert("pooler.dense.weight".to_owned(), random(&[width, width], 1002));
    if with_head {
        tensors.insert("cls.predictions.bias".to_owned(), random(&[words - 1], 1003));
    }
    tensors
}

fn store(folder: &Path, tensors: &BTreeMap<String, TensorData>, prefix: &str) -> SafetensorsStore {
    let path = folder.join("bert.safetensors");
    let prefixed = |name: &str| {
        if name.starts_with("cls.") {
            name.to_owned()
        } else {
            format!("{prefix}{name}")
        }
    };
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, data)| (prefixed(name), data.clone()))
        .collect();
    write_safetensors(&path, &tensors, HashMap::new()).expect("writing");
    SafetensorsStore::open(&path).expect("opening")
}

/// The known values first, then those of `fresh` that BERT does not have.
fn extended(known: &TensorData, fresh: &TensorData) -> Vec<u8> {
    [known.as_bytes(), &fresh.as_bytes()[known.as_bytes().len()..]].concat()
}

#[test]
fn bert_is_copied_and_the_rest_stays_new() {
    let folder = tempfile::tempdir().expect("folder");
    let before: BTreeMap<_, _> = collect(&fresh()).into_iter().collect();
    for (prefix, with_head) in [("", false), ("bert.", false), ("bert.", true), ("", true)] {
        let bert = bert(with_head);
        let loaded = load_bert(fresh(), &store(folder.path(), &bert, prefix)).expect("loading");
        let mut given = given();
        if with_head {
            given.extend(HEAD.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned())));
        }
        let mut copied = 0;
        for (path, data) in collect(&loaded) {
            let expected = match path.as_str() {
                WORDS => extended(&bert["embeddings.word_embeddings.weight"], &before[WORDS]),
                "language_head.bias" if with_head => extended(&bert["cls.predictions.bias"], &before[&path]),
                _ => given
                    .get(&path)
                    .map_or(&before[&path], |name| &bert[name])
                    .as_bytes()
                    .to_vec(),
            };
            assert_eq!(
                data.as_bytes(),
                expected,
                "{path} (prefix `{prefix}`, head {with_head})"
            );
            copied += usize::from(given.contains_key(&path));
        }
        assert_eq!(copied, given.len(), "a name of the table is not the model's");
    }
}

#[test]
fn a_bert_of_another_width_is_one_error_with_its_shapes() {
    let folder = tempfile::tempdir().expect("folder");
    let width = tiny::config().qformer.hidden_size;
    let halved = bert(false)
        .into_iter()
        .map(|(name, data)| {
            let shape: Vec<usize> = data
                .shape()
                .iter()
                .map(|extent| if *extent == width { width / 2 } else { *extent })
                .collect();
            (name, random(&shape, 0))
        })
        .collect();
    let error = load_bert(fresh(), &store(folder.path(), &halved, "bert.")).unwrap_err();
    let text = error.to_string();
    let WeightError::Mismatch {
        missing,
        unexpected,
        misshapen,
        ..
    } = error
    else {
        panic!("{text}")
    };
    assert!(missing.is_empty() && unexpected.is_empty(), "{text}");
    // Every given tensor has a dimension of this width, but for the biases inside of the feed-forward networks.
    let layers = tiny::config().qformer.num_hidden_layers;
    assert_eq!(misshapen.len(), given().len() + 1 - 2 * layers, "{text}");
    assert!(
        misshapen
            .iter()
            .any(|line| line
                == "embeddings.word_embeddings.weight: [89, 16] in the file, [90, 32] in the model"),
        "{misshapen:?}"
    );
}

#[test]
fn a_bert_of_fewer_layers_or_more_words_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mut shallow = bert(false);
    shallow.retain(|name, _| !name.starts_with("encoder.layer.3."));
    let error = load_bert(fresh(), &store(folder.path(), &shallow, "")).unwrap_err();
    assert!(
        matches!(&error, WeightError::Mismatch { missing, .. } if missing.len() == 22),
        "{error}"
    );

    let mut wordy = bert(false);
    wordy.insert(
        "embeddings.word_embeddings.weight".to_owned(),
        random(&[91, 32], 0),
    );
    let error = load_bert(fresh(), &store(folder.path(), &wordy, "")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("[91, 32] in the file, [90, 32] in the model"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_bert_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let other = BTreeMap::from([("weight".to_owned(), random(&[2], 0))]);
    let error = load_bert(fresh(), &store(folder.path(), &other, "")).unwrap_err();
    assert!(
        matches!(&error, WeightError::Absent { name, .. } if name.contains("word_embeddings")),
        "{error}"
    );
    assert!(error.to_string().contains("bert.safetensors"), "{error}");
}

/// Files from before 2019 call the scale and the shift of a layer norm `gamma` and `beta`; the published BERT still does.
#[test]
fn a_bert_with_names_of_old_is_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let bert = bert(true);
    let old = bert
        .iter()
        .map(|(name, data)| {
            let name = name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            (name, data.clone())
        })
        .collect();
    let expected = load_bert(fresh(), &store(folder.path(), &bert, "bert.")).expect("loading");
    let loaded = load_bert(fresh(), &store(folder.path(), &old, "bert.")).expect("loading");
    assert_eq!(fingerprint(&loaded), fingerprint(&expected));
}
