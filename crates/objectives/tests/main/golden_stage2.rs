//! Stage-2 losses and every gradient, equal to LAVIS's own code with OPT and FlanT5 behind both kinds of image encoder.

use std::collections::HashMap;
use std::path::Path;

use blip2_core::weights::{
    LoadOptions, NameMap, SafetensorsStore, TensorStore, load, parameters, write_safetensors,
};
use blip2_core::{Initializer, LanguageModel, TextExample, VisionEncoder};
use blip2_llm_adapters::{Opt, T5};
use blip2_objectives::{Bridge, LAVIS_OPT_BRIDGE, LAVIS_T5_BRIDGE};
use blip2_qformer::QFormerConfig;
use blip2_vision_encoder::{VisionTransformer, VisionTransformerConfig};
use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use serde_json::{Value, json};

use crate::case::{ENCODERS, json, largest, open, relative, values};
use crate::gradients::gradients;

/// One recorded step of stage 2.
struct Case {
    name: String,
    weights: SafetensorsStore,
    io: SafetensorsStore,
    config: Value,
}

impl Case {
    fn new(family: &str, encoder: &str) -> Self {
        let name = format!("{family}_{encoder}");
        Self {
            weights: open(&format!("{name}_weights.safetensors")),
            io: open(&format!("{name}_io.safetensors")),
            config: json("config.json"),
            name,
        }
    }

    /// Features `[batch, patches, width]` of the recorded images.
    fn features(&self, encoder: &str) -> Tensor<3> {
        let vit = &self.config["vit"];
        let heads = vit["heads"].as_u64().expect("heads") as usize;
        let config = VisionTransformerConfig {
            layer_norm_eps: vit[encoder]["layer_norm_eps"].as_f64().expect("epsilon"),
            ..VisionTransformerConfig::of_lavis(&self.weights, heads).expect("encoder")
        };
        let device = Device::flex();
        let encoder = VisionTransformer::from_lavis(&self.weights, &config, &device).expect("encoder");
        let image = Tensor::from_data(self.io.read("image").expect("image"), &device);
        encoder.encode(image).expect("features")
    }

    fn bridge(&self, names: &NameMap, hidden_size: usize) -> Bridge {
        let sizes = &self.config["qformer"];
        let mut config: QFormerConfig = serde_json::from_value(sizes.clone()).expect("sizes");
        config.num_query_tokens = self.weights.tensors()["query_tokens"].shape[1];
        config.encoder_hidden_size = self.weights.tensors()["ln_vision.weight"].shape[0];
        config.hidden_dropout_prob = 0.0;
        config.attention_probs_dropout_prob = 0.0;
        let epsilon = self.config["ln_vision_eps"].as_f64().expect("epsilon");
        let mut initializer = Initializer::new(0, &Device::flex().autodiff());
        let bridge = Bridge::new(&mut initializer, &config, epsilon, hidden_size).expect("bridge");
        load(bridge, &self.weights, names, LoadOptions::default()).expect("weights")
    }

    /// The language model's part of the weights as a Hugging Face folder of its own.
    fn write_language_model(&self, family: &str, mut config: Value, folder: &Path) {
        let prefix = format!("{family}_model.");
        let tensors: Vec<_> = self
            .weights
            .tensors()
            .keys()
            .filter_map(|name| Some((name, name.strip_prefix(&prefix)?)))
            .map(|(name, short)| (short.to_owned(), self.weights.read(name).expect("tensor")))
            .collect();
        write_safetensors(&folder.join("model.safetensors"), &tensors, HashMap::new()).expect("weights");
        let embedding = match family {
            "opt" => "opt_model.model.decoder.embed_tokens.weight",
            _ => "t5_model.shared.weight",
        };
        config["model_type"] = json!(family);
        config["vocab_size"] = json!(self.weights.tensors()[embedding].shape[0]);
        std::fs::write(folder.join("config.json"), config.to_string()).expect("configuration");
    }

    /// The ids of each row of `ids` that `mask` calls real.
    fn rows(&self, ids: &str, mask: &str) -> Vec<Vec<u32>> {
        let read = |name: &str| {
            let data = self.io.read(name).expect("golden tensor");
            data.iter::<i64>().collect::<Vec<_>>()
        };
        let tokens = self.io.tensors()[ids].shape[1];
        let (ids, mask) = (read(ids), read(mask));
        let real = |(ids, mask): (&[i64], &[i64])| {
            let real = ids.iter().zip(mask).filter(|(_, mask)| **mask == 1);
            real.map(|(id, _)| *id as u32).collect()
        };
        ids.chunks(tokens).zip(mask.chunks(tokens)).map(real).collect()
    }

    /// The loss and every gradient of the bridge; `model` gets none.
    fn check<M: LanguageModel + Module>(
        &self,
        encoder: &str,
        names: &NameMap,
        model: &M,
        examples: &[TextExample],
    ) {
        let name = &self.name;
        let before = model.fingerprint();
        let bridge = self.bridge(names, model.hidden_size());
        let features = Tensor::from_data(self.features(encoder).into_data(), &Device::flex().autodiff());
        let loss = bridge.loss(model, features, examples).expect("loss");
        let (ours, theirs) = (loss.clone().into_scalar::<f32>(), values(&self.io, "loss")[0]);
        assert!(
            relative(ours, theirs) < 1e-5,
            "{name}: {ours} instead of {theirs}"
        );

        let backward = loss.backward();
        self.check_gradients(&bridge, names, &backward);
        let reached = gradients(model, &backward)
            .into_iter()
            .find(|(_, gradient)| gradient.is_some());
        assert!(
            reached.is_none(),
            "{name}: the frozen language model has a gradient at {reached:?}"
        );
        assert_eq!(
            model.fingerprint(),
            before,
            "{name}: the language model is frozen"
        );
    }

    fn check_gradients(&self, bridge: &Bridge, names: &NameMap, backward: &Gradients) {
        let name = &self.name;
        let expected = open(&format!("{name}_grads.safetensors"));
        let ours = gradients(bridge, backward);
        let bridge = parameters(bridge);
        assert_eq!(
            bridge.len(),
            expected.tensors().len(),
            "{name}: trainable tensors"
        );
        for parameter in bridge {
            let theirs = (names.rename)(&parameter.path).expect("named");
            let ours = ours[&parameter.path].as_ref().expect("gradient");
            let gradient = values(&expected, &theirs);
            let difference = largest(ours.iter().zip(&gradient).map(|(ours, theirs)| ours - theirs));
            let largest = largest(gradient.iter().copied());
            // A key's bias shifts all scores of a row alike: its gradient is rounding alone.
            let allowed = match theirs.ends_with("key.bias") {
                true => 1e-6,
                false => 1e-4 * largest,
            };
            assert!(
                difference <= allowed,
                "{name} {theirs}: {difference} of {largest}"
            );
        }
    }
}

#[test]
fn opt_behind_the_bridge_equals_lavis() {
    for encoder in ENCODERS {
        let case = Case::new("opt", encoder);
        let sizes = case.config["opt"].clone();
        // LAVIS hides a prompt that precedes each caption from the loss; without one even `</s>` is predicted.
        assert_eq!(sizes["prompt"], "", "recorded with an empty prompt");
        let folder = tempfile::tempdir().expect("folder");
        case.write_language_model("opt", sizes, folder.path());
        let model = Opt::from_hugging_face(folder.path(), &Device::flex()).expect("OPT");
        let examples: Vec<TextExample> = case
            .rows("input_ids", "attention_mask")
            .into_iter()
            .map(|target| TextExample {
                prompt: Vec::new(),
                target,
            })
            .collect();
        case.check(encoder, &LAVIS_OPT_BRIDGE, &model, &examples);
    }
}

#[test]
fn t5_behind_the_bridge_equals_lavis() {
    for encoder in ENCODERS {
        let case = Case::new("t5", encoder);
        let folder = tempfile::tempdir().expect("folder");
        case.write_language_model("t5", case.config["t5"].clone(), folder.path());
        let model = T5::from_hugging_face(folder.path(), &Device::flex()).expect("T5");
        let examples: Vec<TextExample> = case
            .rows("prefix_ids", "prefix_mask")
            .into_iter()
            .zip(case.rows("suffix_ids", "suffix_mask"))
            .map(|(prompt, target)| TextExample { prompt, target })
            .collect();
        case.check(encoder, &LAVIS_T5_BRIDGE, &model, &examples);
    }
}
