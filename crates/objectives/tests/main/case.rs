//! A recorded stage-1 run of LAVIS's own code (`tests/golden/lavis`), set up here. The trainer's tests include this file
//! too.

use blip2_core::Initializer;
use blip2_core::weights::{LoadOptions, SafetensorsStore, TensorStore, load};
use blip2_golden::{Check, TensorFile, find, json};
use blip2_objectives::RepresentationOptions;
use blip2_qformer::{
    LAVIS_REPRESENTATION, QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch,
};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

/// Model, input and settings at the first step.
pub(crate) struct Case {
    pub(crate) model: RepresentationModel,
    pub(crate) options: RepresentationOptions,
    /// Input and output of the first step.
    pub(crate) io: TensorFile,
    pub(crate) check: Check,
    weights: SafetensorsStore,
    epsilon: f64,
    device: Device,
}

/// The sizes of all that was recorded.
pub(crate) fn sizes() -> Value {
    json("lavis/config.json").expect("sizes beside the recorded runs")
}

/// The weights in a recorded file.
pub(crate) fn weights(file: &str) -> SafetensorsStore {
    let path = find(&format!("lavis/{file}.safetensors")).expect("weights beside the recorded runs");
    SafetensorsStore::open(&path).expect("safetensors")
}

/// A tensor of a weight file as f32.
pub(crate) fn values(store: &SafetensorsStore, name: &str) -> Vec<f32> {
    store
        .read(name)
        .expect("golden tensor")
        .convert::<f32>()
        .try_to_vec()
        .expect("floats")
}

/// The stage-2 and the stage-1 Q-Former's sizes: what `config.json` does not say is read off the tensors.
pub(crate) fn qformer_config(sizes: &Value, weights: &SafetensorsStore) -> QFormerConfig {
    let shape = |name: &str| weights.tensors()[name].shape.clone();
    QFormerConfig {
        num_query_tokens: shape("query_tokens")[1],
        encoder_hidden_size: shape("ln_vision.weight")[0],
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..serde_json::from_value(sizes["qformer"].clone()).expect("sizes")
    }
}

impl Case {
    pub(crate) fn new(encoder: &str) -> Self {
        let sizes = sizes();
        let weights = weights(&format!("stage1_{encoder}_weights"));
        let vocabulary = weights.tensors()["Qformer.bert.embeddings.word_embeddings.weight"].shape[0];
        let qformer = QFormerConfig {
            vocab_size: vocabulary,
            ..qformer_config(&sizes, &weights)
        };
        let epsilon = sizes["ln_vision_eps"].as_f64().expect("epsilon");
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
            io: TensorFile::open(&format!("lavis/stage1_{encoder}_io.safetensors")),
            check: Check::new(&format!("lavis/stage1_{encoder}")),
            weights,
            epsilon,
            device,
        }
    }

    /// The text ids without their padding, `[CLS]` first.
    pub(crate) fn texts(&self) -> TextBatch {
        let rows = self.io.texts("input_ids", "attention_mask");
        TextBatch::new(rows, &self.device).expect("texts")
    }

    /// The encoder's features: the golden file holds them after `ln_vision`, which is undone here. A normalised row has the
    /// variance `v / (v + epsilon)`, and that tells what the row was scaled by.
    pub(crate) fn raw_features(&self) -> Tensor<3> {
        let shape: [usize; 3] = self
            .io
            .shape("image_embeds")
            .try_into()
            .expect("three dimensions");
        let (scale, shift) = (
            values(&self.weights, "ln_vision.weight"),
            values(&self.weights, "ln_vision.bias"),
        );
        let width = shape[2];
        let mut raw = Vec::new();
        for row in self.io.floats("image_embeds").chunks(width) {
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
