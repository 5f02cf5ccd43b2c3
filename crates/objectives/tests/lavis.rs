//! Stage-1 losses and every gradient, equal to LAVIS's own code (`tests/golden/lavis`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use blip2_core::Initializer;
use blip2_core::weights::{LoadOptions, SafetensorsStore, TensorStore, load, parameters};
use blip2_objectives::{NegativeSource, Negatives, RepresentationOptions, representation_loss};
use blip2_qformer::{LAVIS_REPRESENTATION, QFormerConfig, RepresentationConfig, RepresentationModel, TextBatch};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

const ENCODERS: [&str; 2] = ["eva", "clip"];

fn golden() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    std::env::var_os("BLIP2_GOLDEN").map_or_else(|| own.into(), PathBuf::from).join("lavis")
}

fn open(file: &str) -> SafetensorsStore {
    SafetensorsStore::open(&golden().join(file)).expect("golden file")
}

fn values(store: &SafetensorsStore, name: &str) -> Vec<f32> {
    store.read(name).expect("golden tensor").convert::<f32>().try_to_vec().expect("floats")
}

fn indices(store: &SafetensorsStore, name: &str) -> Vec<usize> {
    store.read(name).expect("golden tensor").iter::<i64>().map(|index| index as usize).collect()
}

/// The text ids without their padding, `[CLS]` first.
fn texts(io: &SafetensorsStore, device: &Device) -> TextBatch {
    let tokens = io.tensors()["input_ids"].shape[1];
    let ids: Vec<u32> = io.read("input_ids").expect("ids").iter::<i64>().map(|id| id as u32).collect();
    let mask: Vec<i64> = io.read("attention_mask").expect("mask").iter::<i64>().collect();
    let rows = ids
        .chunks(tokens)
        .zip(mask.chunks(tokens))
        .map(|(ids, mask)| ids.iter().zip(mask).filter(|(_, seen)| **seen == 1).map(|(id, _)| *id).collect())
        .collect();
    TextBatch::new(rows, device).expect("texts")
}

struct Case {
    model: RepresentationModel,
    options: RepresentationOptions,
    io: SafetensorsStore,
    weights: SafetensorsStore,
    epsilon: f64,
    device: Device,
}

fn case(encoder: &str) -> Case {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden().join("config.json")).expect("config")).expect("json");
    let weights = open(&format!("stage1_{encoder}_weights.safetensors"));
    let vocabulary = weights.tensors()["Qformer.bert.embeddings.word_embeddings.weight"].shape[0];
    let mut qformer: QFormerConfig = serde_json::from_value(config["qformer"].clone()).expect("sizes");
    qformer.vocab_size = vocabulary;
    qformer.num_query_tokens = weights.tensors()["query_tokens"].shape[1];
    qformer.encoder_hidden_size = weights.tensors()["ln_vision.weight"].shape[0];
    qformer.hidden_dropout_prob = 0.0;
    qformer.attention_probs_dropout_prob = 0.0;
    let config = RepresentationConfig {
        qformer,
        embedding_size: weights.tensors()["vision_proj.weight"].shape[0],
        vision_layer_norm_eps: config["ln_vision_eps"].as_f64().expect("epsilon"),
    };
    let epsilon = config.vision_layer_norm_eps;
    let device = Device::flex().autodiff();
    let model = RepresentationModel::new(&mut Initializer::new(0, &device), &config).expect("model");
    let model = load(model, &weights, &LAVIS_REPRESENTATION, LoadOptions::default()).expect("weights");
    let options = RepresentationOptions { start_token: vocabulary as u32 - 1, label_smoothing: 0.1 };
    Case { model, options, io: open(&format!("stage1_{encoder}_io.safetensors")), weights, epsilon, device }
}

impl Case {
    /// The encoder's features: the golden file holds them after `ln_vision`, which is undone here. A normalised row has the
    /// variance `v / (v + epsilon)`, and that tells what the row was scaled by.
    fn raw_features(&self, weights: &SafetensorsStore) -> Tensor<3> {
        let shape: [usize; 3] = self.io.tensors()["image_embeds"].shape.clone().try_into().expect("three dimensions");
        let (scale, shift) = (values(weights, "ln_vision.weight"), values(weights, "ln_vision.bias"));
        let width = shape[2];
        let mut raw = Vec::new();
        for row in values(&self.io, "image_embeds").chunks(width) {
            let unit: Vec<f64> =
                (0..width).map(|i| (f64::from(row[i]) - f64::from(shift[i])) / f64::from(scale[i])).collect();
            let variance = unit.iter().map(|value| value * value).sum::<f64>() / width as f64;
            let spread = (self.epsilon / (1.0 - variance).max(self.epsilon * 1e-3)).sqrt();
            raw.extend(unit.iter().map(|value| (value * spread) as f32));
        }
        Tensor::from_data(TensorData::new(raw, shape), &self.device)
    }
}

fn relative(ours: f32, theirs: f32) -> f32 {
    (ours - theirs).abs() / theirs.abs()
}

struct GradientsByPath<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    found: BTreeMap<String, Option<Vec<f32>>>,
}

impl ModuleVisitor for GradientsByPath<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let gradient = parameter.val().grad(self.gradients);
        self.found.insert(self.path.join("."), gradient.map(|g| g.into_data().try_to_vec().expect("f32")));
    }
}

fn gradients<M: Module>(module: &M, gradients: &Gradients) -> BTreeMap<String, Option<Vec<f32>>> {
    let mut visitor = GradientsByPath { gradients, path: Vec::new(), found: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.found
}

#[test]
fn losses_and_gradients_equal_lavis() {
    for encoder in ENCODERS {
        let case = case(encoder);
        let negatives = Negatives {
            images: indices(&case.io, "neg_image_idx"),
            texts: indices(&case.io, "neg_text_idx"),
        };
        let texts = texts(&case.io, &case.device);
        let loss = representation_loss(
            &case.model,
            case.raw_features(&case.weights),
            &texts,
            &case.options,
            NegativeSource::Given(negatives),
        )
        .expect("loss");
        for (name, ours) in
            [("loss_itc", &loss.contrastive), ("loss_itm", &loss.matching), ("loss_lm", &loss.generation)]
        {
            let (ours, theirs) = (ours.clone().into_scalar::<f32>(), values(&case.io, name)[0]);
            assert!(relative(ours, theirs) < 1e-5, "{encoder} {name}: {ours} instead of {theirs}");
        }

        let expected = open(&format!("stage1_{encoder}_grads.safetensors"));
        let ours = gradients(&case.model, &loss.total().backward());
        let mut compared = 0;
        for parameter in parameters(&case.model) {
            let name = (LAVIS_REPRESENTATION.rename)(&parameter.path).expect("named");
            // There the decoder's bias and the head's are one tensor, listed under its other name.
            let name = name.replace("predictions.decoder.bias", "predictions.bias");
            let theirs = values(&expected, &name);
            let ours = ours[&parameter.path].clone().unwrap_or_else(|| vec![0.0; theirs.len()]);
            let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let difference = ours.iter().zip(&theirs).fold(0.0_f32, |d, (a, b)| d.max((a - b).abs()));
            // A key's bias shifts all scores of a row alike: its gradient is rounding alone. What reaches these two tensors
            // is a small difference of large terms: the reference's own f32 is 2e-4 away from the same sum in f64.
            let allowed = match name.as_str() {
                _ if name.ends_with("key.bias") => 1e-6,
                "temp" | "text_proj.weight" | "text_proj.bias" => 5e-4 * largest,
                _ => 1e-4 * largest,
            };
            assert!(difference <= allowed, "{encoder} {name}: {difference} of {largest}");
            compared += 1;
        }
        assert!(compared > 100, "only {compared} gradients compared");
    }
}
