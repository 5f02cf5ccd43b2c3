//! A recorded stage-1 run of LAVIS's own code (`tests/golden/lavis`), set up here. The trainer's tests include this file
//! too.

use std::path::PathBuf;

use blip2_core::Initializer;
use blip2_core::weights::{LoadOptions, SafetensorsStore, TensorStore, load};
use blip2_objectives::RepresentationOptions;
use blip2_qformer::{
    LAVIS_REPRESENTATION, QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch,
};
use burn::tensor::{Device, Tensor, TensorData};

/// Both kinds of image encoder.
pub(crate) const ENCODERS: [&str; 2] = ["eva", "clip"];

/// Model, input and settings at the first step.
pub(crate) struct Case {
    pub(crate) model: RepresentationModel,
    pub(crate) options: RepresentationOptions,
    /// Input and output of the first step.
    pub(crate) io: SafetensorsStore,
    weights: SafetensorsStore,
    epsilon: f64,
    device: Device,
}

pub(crate) fn golden() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    std::env::var_os("BLIP2_GOLDEN")
        .map_or_else(|| own.into(), PathBuf::from)
        .join("lavis")
}

pub(crate) fn json(file: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(golden().join(file)).expect("golden file")).expect("json")
}

pub(crate) fn open(file: &str) -> SafetensorsStore {
    SafetensorsStore::open(&golden().join(file)).expect("golden file")
}

pub(crate) fn values(store: &SafetensorsStore, name: &str) -> Vec<f32> {
    store
        .read(name)
        .expect("golden tensor")
        .convert::<f32>()
        .try_to_vec()
        .expect("floats")
}

pub(crate) fn relative(ours: f32, theirs: f32) -> f32 {
    (ours - theirs).abs() / theirs.abs()
}

/// The largest magnitude.
pub(crate) fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

impl Case {
    pub(crate) fn new(encoder: &str) -> Self {
        let config = json("config.json");
        let weights = open(&format!("stage1_{encoder}_weights.safetensors"));
        let vocabulary = weights.tensors()["Qformer.bert.embeddings.word_embeddings.weight"].shape[0];
        let mut qformer: QFormerConfig = serde_json::from_value(config["qformer"].clone()).expect("sizes");
        qformer.vocab_size = vocabulary;
        qformer.num_query_tokens = weights.tensors()["query_tokens"].shape[1];
        qformer.encoder_hidden_size = weights.tensors()["ln_vision.weight"].shape[0];
        qformer.hidden_dropout_prob = 0.0;
        qformer.attention_probs_dropout_prob = 0.0;
        let epsilon = config["ln_vision_eps"].as_f64().expect("epsilon");
        let embedding_size = weights.tensors()["vision_proj.weight"].shape[0];
        let config = RepresentationConfig {
            qformer,
            embedding_size,
            vision_layer_norm_eps: epsilon,
        };
        let device = Device::flex().autodiff();
        let model = RepresentationModel::new(&mut Initializer::new(0, &device), &config).expect("model");
        let model = load(model, &weights, &LAVIS_REPRESENTATION, LoadOptions::default()).expect("weights");
        let options = RepresentationOptions {
            start_token: vocabulary as u32 - 1,
            label_smoothing: 0.1,
        };
        Self {
            model,
            options,
            io: open(&format!("stage1_{encoder}_io.safetensors")),
            weights,
            epsilon,
            device,
        }
    }

    /// The text ids without their padding, `[CLS]` first.
    pub(crate) fn texts(&self) -> TextBatch {
        let tokens = self.io.tensors()["input_ids"].shape[1];
        let ids: Vec<u32> = self
            .io
            .read("input_ids")
            .expect("ids")
            .iter::<i64>()
            .map(|id| id as u32)
            .collect();
        let mask: Vec<i64> = self
            .io
            .read("attention_mask")
            .expect("mask")
            .iter::<i64>()
            .collect();
        let real = |(ids, mask): (&[u32], &[i64])| {
            ids.iter()
                .zip(mask)
                .filter(|(_, seen)| **seen == 1)
                .map(|(id, _)| *id)
                .collect()
        };
        let rows = ids.chunks(tokens).zip(mask.chunks(tokens)).map(real).collect();
        TextBatch::new(rows, &self.device).expect("texts")
    }

    /// The encoder's features: the golden file holds them after `ln_vision`, which is undone here. A normalised row has the
    /// variance `v / (v + epsilon)`, and that tells what the row was scaled by.
    pub(crate) fn raw_features(&self) -> Tensor<3> {
        let shape: [usize; 3] = self.io.tensors()["image_embeds"]
            .shape
            .clone()
            .try_into()
            .expect("three dimensions");
        let (scale, shift) = (
            values(&self.weights, "ln_vision.weight"),
            values(&self.weights, "ln_vision.bias"),
        );
        let width = shape[2];
        let mut raw = Vec::new();
        for row in values(&self.io, "image_embeds").chunks(width) {
            let unit: Vec<f64> = (0..width)
                .map(|i| (f64::from(row[i]) - f64::from(shift[i])) / f64::from(scale[i]))
                .collect();
            let variance = unit.iter().map(|value| value * value).sum::<f64>() / width as f64;
            let spread = (self.epsilon / (1.0 - variance).max(self.epsilon * 1e-3)).sqrt();
            raw.extend(unit.iter().map(|value| (value * spread) as f32));
        }
        Tensor::from_data(TensorData::new(raw, shape), &self.device)
    }
}
