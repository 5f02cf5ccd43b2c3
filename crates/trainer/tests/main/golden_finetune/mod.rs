//! Fine-tuning by LAVIS's own code (`lavis-finetune`), taken again: losses, the gradient of every tensor, the encoder's included,
//! and what each parameter group is given.

mod groups;
mod language;
mod retrieval;

use blip2_core::VisionEncoder;
use blip2_core::weights::SafetensorsStore;
use blip2_golden::{Check, TensorFile, device, each, json, tolerance, variants};
use blip2_trainer::{Batch, Sighted, TrainError};
use blip2_vision_encoder::{LAVIS_CLIP_ENCODER, LAVIS_EVA_ENCODER, VisionTransformer};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Gradients, Tensor};
use serde_json::Value;

use crate::case::{encoder, encoder_on, store};
use crate::gradients::{ByPath, Gradient, gradients, resolved};

pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub(super) fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(number).collect()
}

/// The folder of one task and one kind of encoder.
pub(super) struct Run {
    pub(super) sizes: Value,
    pub(super) report: Value,
    pub(super) folder: String,
    pub(super) weights: SafetensorsStore,
    pub(super) io: TensorFile,
    pub(super) check: Check,
}

impl Run {
    /// Proves each folder of `task`.
    pub(super) fn each(task: &str, prove: impl Fn(Self)) {
        let Some(sizes) = json("lavis-finetune/config.json") else {
            return;
        };
        let start = format!("lavis-finetune/{task}-");
        each(variants(&start, ""), |kind| {
            let folder = format!("{start}{kind}");
            prove(Self {
                report: json(&format!("{folder}/report.json")).expect("a report beside the tensors"),
                weights: store(&format!("{folder}/weights.safetensors")),
                io: TensorFile::open(&format!("{folder}/io.safetensors")),
                check: Check::new(&folder),
                sizes: sizes.clone(),
                folder,
            });
        });
    }

    pub(super) fn kind(&self) -> &str {
        text(&self.report["vit"])
    }

    /// The encoder as it is frozen.
    pub(super) fn encoder(&self) -> VisionTransformer {
        encoder(self.kind(), &self.sizes, &self.weights)
    }

    /// `model` with the encoder in front of it, both to be trained.
    pub(super) fn unfrozen<M: Module>(&self, model: M) -> Whole<M> {
        Whole {
            encoder: encoder_on(&device().autodiff(), self.kind(), &self.sizes, &self.weights),
            model,
            pixels: self.io.tensor("image"),
        }
    }

    pub(super) fn close<const D: usize>(&mut self, name: &str, ours: &Tensor<D>, near: f64) {
        self.check.close(name, ours, &self.io.array(name), near);
    }

    /// As LAVIS calls the parameter at `path` of a whole model; `of_model` names those behind the encoder.
    pub(super) fn name(&self, path: &str, of_model: fn(&str) -> Option<String>) -> String {
        let name = match (path.strip_prefix("encoder."), path.strip_prefix("model.")) {
            (Some(path), _) if self.kind() == "eva" => (LAVIS_EVA_ENCODER.rename)(path),
            (Some(path), _) => (LAVIS_CLIP_ENCODER.rename)(path),
            (None, rest) => of_model(rest.unwrap_or(path)),
        };
        // There the decoder's bias and the head's are one tensor.
        name.expect("a name")
            .replace("predictions.decoder.bias", "predictions.bias")
    }

    /// The gradient of every tensor of `whole`, as `of` computes them, and what the report says of them.
    pub(super) fn compare_gradients<M: Module>(
        &mut self,
        whole: &M,
        of: impl Fn(&M) -> Gradients,
        of_model: fn(&str) -> Option<String>,
        adjust: impl Fn(&mut Gradient),
    ) {
        let by_path = |module: &M| -> ByPath { gradients(module, &of(module)) };
        let mut ours = fused(resolved(whole, by_path, |path| self.name(path, of_model)));
        ours.iter_mut().for_each(adjust);
        let expected = TensorFile::open(&format!("{}/grads.safetensors", self.folder));
        for gradient in &ours {
            gradient.check(&mut self.check, &expected);
        }
        let mut names: Vec<String> = ours.iter().map(|gradient| gradient.name.clone()).collect();
        names.sort();
        self.check.identical("trainable", &names, expected.names());
        let of_encoder = names.iter().filter(|name| name.starts_with("visual_encoder."));
        for (what, count) in [
            ("trainable_tensors", names.len()),
            ("vit_tensors_with_gradient", of_encoder.count()),
        ] {
            self.check
                .identical(what, &[count as f64], &[number(&self.report[what])]);
        }
        for difference in list(&self.report["finite_differences"]) {
            let (name, index) = (text(&difference["tensor"]), number(&difference["flat_index"]));
            let gradient = ours
                .iter()
                .find(|gradient| gradient.name == name)
                .expect("trained");
            let largest = gradient
                .values
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            self.check.absolute(
                &format!("finite-difference/{name}"),
                &[gradient.values[index as usize]],
                &[number(&difference["finite_difference"]) as f32],
                tolerance::GRADIENT * f64::from(largest),
            );
        }
    }
}

/// Thirds of a fused tensor, `name[query]` and so on, as one.
fn fused(gradients: Vec<Gradient>) -> Vec<Gradient> {
    let mut whole: Vec<Gradient> = Vec::new();
    for mut gradient in gradients {
        gradient
            .name
            .truncate(gradient.name.find('[').unwrap_or(gradient.name.len()));
        match whole.iter_mut().find(|known| known.name == gradient.name) {
            Some(known) => {
                known.values.append(&mut gradient.values);
                known.resolved = known.resolved.max(gradient.resolved);
            }
            None => whole.push(gradient),
        }
    }
    whole
}

/// An encoder that is trained with the model behind it, looking at given pixels; its paths are those of
/// [`Tuned`](blip2_trainer::Tuned).
#[derive(Module, Debug)]
pub(super) struct Whole<M: Module> {
    pub(super) encoder: VisionTransformer,
    pub(super) model: M,
    #[module(skip)]
    pub(super) pixels: Tensor<4>,
}

impl<M: Module> Whole<M> {
    pub(super) fn seen(&self) -> Tensor<3> {
        let pixels = Tensor::from_data(self.pixels.to_data(), &device().autodiff());
        self.encoder.encode(pixels).expect("features")
    }
}

impl<M: Module + ModuleDisplay> Sighted for Whole<M> {
    type Model = M;

    fn model(&self) -> &M {
        &self.model
    }

    fn map_model(self, change: impl FnOnce(M) -> M) -> Self {
        Self {
            model: change(self.model),
            ..self
        }
    }

    fn features(&self, _batch: &Batch, rows: &[usize]) -> Result<Tensor<3>, TrainError> {
        let [images, _, _, _] = self.pixels.dims();
        assert!(rows.iter().copied().eq(0..images), "all rows at once: {rows:?}");
        Ok(self.seen())
    }
}
