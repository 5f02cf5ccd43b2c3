//! Stage-2 losses and every gradient, equal to LAVIS's own code with OPT and FlanT5 behind both kinds of image encoder.

use std::collections::HashMap;
use std::path::Path;

use blip2_core::weights::{LoadOptions, NameMap, SafetensorsStore, TensorStore, load, write_safetensors};
use blip2_core::{Initializer, LanguageModel, TextExample};
use blip2_golden::{Check, TensorFile, device, each, tolerance, variants};
use blip2_llm_adapters::{Opt, T5};
use blip2_objectives::language_modelling_loss;
use blip2_qformer::{Bridge, LAVIS_OPT_BRIDGE, LAVIS_T5_BRIDGE};
use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Value, json};

use crate::case::{features, qformer_config, sizes, weights};
use crate::gradients::{gradients, resolved};

/// One recorded step of stage 2.
struct Case {
    name: String,
    weights: SafetensorsStore,
    io: TensorFile,
    sizes: Value,
}

impl Case {
    fn new(family: &str, encoder: &str) -> Self {
        let name = format!("{family}_{encoder}");
        Self {
            weights: weights(&format!("{name}_weights")),
            io: TensorFile::open(&format!("lavis/{name}_io.safetensors")),
            sizes: sizes(),
            name,
        }
    }

    fn bridge(&self, names: &NameMap, hidden_size: usize) -> Bridge {
        let config = qformer_config(&self.sizes, &self.weights);
        let epsilon = self.sizes["ln_vision_eps"].as_f64().expect("epsilon");
        let mut initializer = Initializer::new(0, &device().autodiff());
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
        let features = Tensor::from_data(
            features(encoder, &self.weights, &self.io).into_data(),
            &device().autodiff(),
        );
        let loss = |bridge: &Bridge| {
            language_modelling_loss(bridge, model, features.clone(), examples).expect("loss")
        };
        let of = |bridge: &Bridge| gradients(bridge, &loss(bridge).backward());
        let ours = resolved(&bridge, of, |path| (names.rename)(path).expect("named"));
        let loss = loss(&bridge);
        let mut check = Check::new(&format!("lavis/{name}"));
        check.close("loss", &loss, &self.io.array("loss"), tolerance::LOSS);

        let expected = TensorFile::open(&format!("lavis/{name}_grads.safetensors"));
        ours.iter()
            .for_each(|gradient| gradient.check(&mut check, &expected));
        check.identical("gradients", &[ours.len()], &[expected.names().len()]);
        let reached: Vec<String> = gradients(model, &loss.backward())
            .into_iter()
            .filter_map(|(path, gradient)| gradient.is_some().then_some(path))
            .collect();
        check.identical("gradients of the frozen language model", &reached, &[]);
        check.identical("frozen language model", &[model.fingerprint()], &[before]);
    }
}

#[test]
fn opt_behind_the_bridge_equals_lavis() {
    each(variants("lavis/opt_", "_io.safetensors"), |encoder| {
        let case = Case::new("opt", &encoder);
        let sizes = case.sizes["opt"].clone();
        // LAVIS hides a prompt that precedes each caption from the loss; without one even `</s>` is predicted.
        assert_eq!(sizes["prompt"], "", "recorded with an empty prompt");
        let folder = tempfile::tempdir().expect("folder");
        case.write_language_model("opt", sizes, folder.path());
        let model = Opt::from_hugging_face(folder.path(), &device()).expect("OPT");
        let examples: Vec<TextExample> = case
            .io
            .texts("input_ids", "attention_mask")
            .into_iter()
            .map(|target| TextExample {
                prompt: Vec::new(),
                target,
            })
            .collect();
        case.check(&encoder, &LAVIS_OPT_BRIDGE, &model, &examples);
    });
}

#[test]
fn t5_behind_the_bridge_equals_lavis() {
    each(variants("lavis/t5_", "_io.safetensors"), |encoder| {
        let case = Case::new("t5", &encoder);
        let folder = tempfile::tempdir().expect("folder");
        case.write_language_model("t5", case.sizes["t5"].clone(), folder.path());
        let model = T5::from_hugging_face(folder.path(), &device()).expect("T5");
        let examples: Vec<TextExample> = case
            .io
            .texts("prefix_ids", "prefix_mask")
            .into_iter()
            .zip(case.io.texts("suffix_ids", "suffix_mask"))
            .map(|(prompt, target)| TextExample { prompt, target })
            .collect();
        case.check(&encoder, &LAVIS_T5_BRIDGE, &model, &examples);
    });
}
