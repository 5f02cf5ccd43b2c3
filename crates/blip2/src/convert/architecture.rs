//! Which tensors a model has, and what both forms call them, from its `config.json` alone.

use std::collections::BTreeSet;
use std::path::Path;

use blip2_core::Initializer;
use blip2_core::weights::{NameMap, ParameterInfo, TensorStore, Views, WeightError, is_buffer, parameters};
use blip2_llm_adapters::{LanguageModelTensors, hugging_face_tensors, model_type};
use blip2_qformer::{
    Bridge, HUGGING_FACE_BRIDGE, HUGGING_FACE_INSTRUCT, HUGGING_FACE_REPRESENTATION, LAVIS_LLAMA_BRIDGE,
    LAVIS_OPT_BRIDGE, LAVIS_REPRESENTATION, LAVIS_T5_BRIDGE, RepresentationConfig, RepresentationModel,
};
use blip2_vision_encoder::{
    EncoderError, HUGGING_FACE_ENCODER, LAVIS_EVA_ENCODER, VisionTransformer, VisionTransformerConfig,
};
use burn::tensor::Device;

use super::instruction::TextRows;
use crate::hugging_face::CONFIG;
use crate::{Blip2Error, HuggingFaceKind};

/// Where `transformers` keeps the language model.
pub(super) const LANGUAGE_MODEL: &str = "language_model.";

/// One parameter of encoder or bridge.
pub(super) struct Parameter {
    /// Its name in a folder of `transformers`, perhaps that of a third; `None` where such a folder has no place for it.
    pub(super) hugging_face: Option<String>,
    /// Its name in a checkpoint of LAVIS, likewise.
    pub(super) lavis: Option<String>,
    pub(super) shape: Vec<usize>,
    /// Whether pretraining keeps it as it was: the encoder's.
    pub(super) frozen: bool,
}

/// A BLIP-2 as both forms know it.
pub(super) struct Architecture {
    pub(super) parameters: Vec<Parameter>,
    /// Where LAVIS keeps the language model; `None` without one.
    pub(super) lavis_language_model: Option<&'static str>,
    /// The language model's own tensors; `None` without one.
    pub(super) language_model: Option<LanguageModelTensors>,
}

/// How LAVIS names what depends on the family of the language model.
struct Family {
    prefix: &'static str,
    bridge: NameMap,
}

impl Architecture {
    /// The model of `kind` in the `config.json` of `folder`, with embeddings of texts of so many `rows` where that does not tell.
    pub(super) fn read(
        folder: &Path,
        kind: HuggingFaceKind,
        rows: Option<TextRows>,
    ) -> Result<Self, Blip2Error> {
        let file = folder.join(CONFIG);
        let encoder_error = |source: EncoderError| Blip2Error::Encoder {
            path: folder.to_owned(),
            source: Box::new(source),
        };
        let mut config = RepresentationConfig::from_hugging_face(&file)?;
        if let Some(rows) = rows {
            rows.put_into(&mut config);
        }
        let vision = VisionTransformerConfig::read(&file)?;
        let initializer = &mut Initializer::new(0, &Device::flex());
        let encoder = VisionTransformer::new(&vision, initializer)
            .map_err(|error| encoder_error(error.into()))?
            .without_norm();
        let mut list = named(
            parameters(&encoder),
            &HUGGING_FACE_ENCODER,
            &LAVIS_EVA_ENCODER,
            true,
        );
        if kind == HuggingFaceKind::Retrieval {
            let model = RepresentationModel::new(initializer, &config)?;
            list.extend(named(
                parameters(&model),
                &HUGGING_FACE_REPRESENTATION,
                &LAVIS_REPRESENTATION,
                false,
            ));
            return Ok(Self {
                parameters: list,
                lavis_language_model: None,
                language_model: None,
            });
        }
        let language_model = |source| Blip2Error::LanguageModel {
            path: folder.to_owned(),
            source: Box::new(source),
        };
        let tensors = hugging_face_tensors(folder).map_err(language_model)?;
        let family = Family::of(&model_type(folder).map_err(language_model)?);
        let hidden_size = tensors.hidden_size;
        let (qformer, epsilon) = (&config.qformer, config.vision_layer_norm_eps);
        let (bridge, names) = if kind == HuggingFaceKind::Instruction {
            let bridge = Bridge::instructed(initializer, qformer, epsilon, hidden_size)?;
            (bridge, HUGGING_FACE_INSTRUCT)
        } else {
            let bridge = Bridge::new(initializer, qformer, epsilon, hidden_size)?;
            (bridge, HUGGING_FACE_BRIDGE)
        };
        list.extend(named(parameters(&bridge), &names, &family.bridge, false));
        Ok(Self {
            parameters: list,
            lavis_language_model: Some(family.prefix),
            language_model: Some(tensors),
        })
    }

    /// Whether `folder`, the tensors of a folder of `transformers` [`in_thirds`], is this model, whole.
    ///
    /// # Errors
    /// [`WeightError::Mismatch`] with all that is missing, unexpected or mis-shaped.
    pub(super) fn check(&self, folder: &Views<'_>) -> Result<(), WeightError> {
        let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
        let mut known = BTreeSet::new();
        let mut compare = |name: String, shape: &[usize], optional: bool| {
            match folder.tensors().get(&name) {
                None if optional => {}
                None => missing.push(name.clone()),
                Some(info) if info.shape != shape => misshapen.push(format!(
                    "{name}: {:?} in the file, {shape:?} in config.json",
                    info.shape
                )),
                Some(_) => {}
            }
            known.insert(name);
        };
        for parameter in &self.parameters {
            if let Some(name) = &parameter.hugging_face {
                compare(name.clone(), &parameter.shape, false);
            }
        }
        for (name, shape) in self.language_model.iter().flat_map(|model| &model.shapes) {
            compare(format!("{LANGUAGE_MODEL}{name}"), shape, self.is_optional(name));
        }
        let unexpected: Vec<String> = folder
            .tensors()
            .keys()
            .filter(|name| !known.contains(*name) && !self.is_ignored(name))
            .cloned()
            .collect();
        if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() {
            return Ok(());
        }
        Err(WeightError::Mismatch {
            file: folder.label(),
            missing,
            unexpected,
            misshapen,
        })
    }

    /// Whether the language model can do without its own tensor `name`.
    pub(super) fn is_optional(&self, name: &str) -> bool {
        self.language_model
            .as_ref()
            .is_some_and(|model| (model.optional)(name))
    }

    /// Whether the tensor `name` of a folder is left unread on purpose: a copy, or a buffer.
    fn is_ignored(&self, name: &str) -> bool {
        let rest = name.strip_prefix(LANGUAGE_MODEL);
        is_buffer(name)
            || rest.is_some_and(|rest| {
                self.language_model
                    .as_ref()
                    .is_some_and(|model| (model.ignored)(rest))
            })
    }
}

fn named(list: Vec<ParameterInfo>, hugging_face: &NameMap, lavis: &NameMap, frozen: bool) -> Vec<Parameter> {
    list.into_iter()
        .map(|parameter| Parameter {
            hugging_face: (hugging_face.rename)(&parameter.path),
            lavis: (lavis.rename)(&parameter.path),
            shape: parameter.shape,
            frozen,
        })
        .collect()
}

impl Family {
    /// That of a `model_type`.
    fn of(model_type: &str) -> Self {
        let (prefix, bridge) = match model_type {
            "opt" => ("opt_model.", LAVIS_OPT_BRIDGE),
            "t5" => ("t5_model.", LAVIS_T5_BRIDGE),
            _ => ("llm_model.", LAVIS_LLAMA_BRIDGE),
        };
        Self { prefix, bridge }
    }
}

/// The tensors of `store` with the fused projections of the encoder as thirds.
pub(crate) fn in_thirds(store: &dyn TensorStore) -> Views<'_> {
    Views::below(store, "")
        .split("attn.qkv.weight")
        .split("attn.qkv.bias")
}
