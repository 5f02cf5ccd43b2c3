//! A recorded stage-1 run of LAVIS's own code (`tests/golden/lavis`), set up here. The trainer's tests include this file
//! too.

use blip2_core::weights::{LoadOptions, SafetensorsStore, TensorStore, load};
use blip2_core::{Initializer, VisionEncoder};
use blip2_golden::{Check, TensorFile, device, find, json};
use blip2_objectives::RepresentationOptions;
use blip2_qformer::{
    LAVIS_REPRESENTATION, QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch,
};
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use burn::tensor::{Device, Tensor};
use serde_json::Value;

/// Model, input and settings at the first step.
pub(crate) struct Case {
    pub(crate) model: RepresentationModel,
    pub(crate) options: RepresentationOptions,
    /// Input and output of the first step.
    pub(crate) io: TensorFile,
    pub(crate) check: Check,
    encoder: String,
    weights: SafetensorsStore,
    device: Device,
}

/// The sizes of all that was recorded.
pub(crate) fn sizes() -> Value {
    json("lavis/config.json").expect("sizes beside the recorded runs")
}

/// The weights in a recorded file of `lavis`.
pub(crate) fn weights(file: &str) -> SafetensorsStore {
    store(&format!("lavis/{file}.safetensors"))
}

/// The weights in `file`, relative to the golden folder.
pub(crate) fn store(file: &str) -> SafetensorsStore {
    let path = find(file).expect("weights beside the recorded runs");
    SafetensorsStore::open(&path).expect("safetensors")
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

/// The frozen image encoder of a recorded run, EVA's or CLIP's.
pub(crate) fn encoder(kind: &str, sizes: &Value, weights: &SafetensorsStore) -> VisionTransformer {
    encoder_on(&device(), kind, sizes, weights)
}

/// The same on a device of its own: one with autodiff, where it is trained.
pub(crate) fn encoder_on(
    device: &Device,
    kind: &str,
    sizes: &Value,
    weights: &SafetensorsStore,
) -> VisionTransformer {
    let vit = &sizes["vit"];
    let heads = vit["heads"].as_u64().expect("heads") as usize;
    let config = VisionTransformerConfig {
        layer_norm_eps: vit[kind]["layer_norm_eps"].as_f64().expect("epsilon"),
        ..VisionTransformerConfig::of_lavis(weights, heads).expect("encoder")
    };
    VisionTransformer::from_lavis(weights, &config, device).expect("encoder")
}

/// Features `[batch, patches, width]` that the frozen encoder makes of the recorded images.
pub(crate) fn features(kind: &str, weights: &SafetensorsStore, io: &TensorFile) -> Tensor<3> {
    let encoder = encoder(kind, &sizes(), weights);
    encoder.encode(io.tensor("image")).expect("features")
}

/// The stage-1 model with these weights, trainable, and what it is trained with.
pub(crate) fn stage1(
    sizes: &Value,
    weights: &SafetensorsStore,
) -> (RepresentationModel, RepresentationOptions) {
    let vocabulary = weights.tensors()["Qformer.bert.embeddings.word_embeddings.weight"].shape[0];
    let qformer = QFormerConfig {
        vocab_size: vocabulary,
        ..qformer_config(sizes, weights)
    };
    let config = RepresentationConfig {
        qformer,
        embedding_size: weights.tensors()["vision_proj.weight"].shape[0],
        vision_layer_norm_eps: sizes["ln_vision_eps"].as_f64().expect("epsilon"),
    };
    let device = device().autodiff();
    let model = RepresentationModel::new(&mut Initializer::new(0, &device), &config).expect("model");
    let model = load(model, weights, &LAVIS_REPRESENTATION, LoadOptions::default()).expect("weights");
    let options = RepresentationOptions {
        start_token: vocabulary as u32 - 1,
        ..RepresentationOptions::default()
    };
    (model, options)
}

impl Case {
    pub(crate) fn new(encoder: &str) -> Self {
        let weights = weights(&format!("stage1_{encoder}_weights"));
        let (model, options) = stage1(&sizes(), &weights);
        Self {
            model,
            options,
            io: TensorFile::open(&format!("lavis/stage1_{encoder}_io.safetensors")),
            check: Check::new(&format!("lavis/stage1_{encoder}")),
            encoder: encoder.to_owned(),
            weights,
            device: device().autodiff(),
        }
    }

    /// The text ids without their padding, `[CLS]` first.
    pub(crate) fn texts(&self) -> TextBatch {
        let rows = self.io.texts("input_ids", "attention_mask");
        TextBatch::new(rows, &self.device).expect("texts")
    }

    /// The features of the frozen encoder, `[batch, patches, width]`.
    pub(crate) fn features(&self) -> Tensor<3> {
        let features = features(&self.encoder, &self.weights, &self.io);
        Tensor::from_data(features.into_data(), &self.device)
    }
}
