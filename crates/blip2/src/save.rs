//! Saving back to the form of `transformers`: what was trained in its place, all else as it was.

use std::path::Path;

use blip2_core::weights::{Assembled, NameMap, Part, TensorInfo, TensorStore, WeightError, collect};
use blip2_qformer::{
    Bridge, HUGGING_FACE_BRIDGE, HUGGING_FACE_INSTRUCT, HUGGING_FACE_REPRESENTATION, RepresentationModel,
};
use blip2_vision_encoder::{HUGGING_FACE_ENCODER, VisionTransformer};
use burn::module::Module;

use crate::convert::{LeftOut, in_thirds, write_folder};
use crate::{Blip2Error, HuggingFaceFolder, HuggingFaceKind};

const NO_PLACE: &str = "a retrieval model of transformers has no place for it";

const POSITIONS: &str = "vision_model.embeddings.position_embedding";
const PATCHES: &str = "vision_model.embeddings.patch_embedding.weight";

/// What of a model was trained, and is to be saved.
#[derive(Clone, Copy, Default)]
pub struct Trained<'a> {
    /// The image encoder, where it was not frozen.
    pub encoder: Option<&'a VisionTransformer>,
    /// Of a model with a language model.
    pub bridge: Option<&'a Bridge>,
    /// Of a retrieval model.
    pub representation: Option<&'a RepresentationModel>,
}

impl HuggingFaceFolder {
    /// Writes this model into the new folder `out`, with what is `trained` in the place of what this folder holds. Everything
    /// keeps the number format that it has here. Gives the trained tensors that such a folder has no place for.
    ///
    /// # Errors
    /// [`Blip2Error::Weights`] lists all that does not fit this model; [`Blip2Error::Io`] where the disk refuses.
    pub fn save_pretrained(&self, out: &Path, trained: Trained<'_>) -> Result<Vec<LeftOut>, Blip2Error> {
        let here = in_thirds(self.store());
        let mut saving = Saving {
            here: &here,
            folder: Assembled::new(out.display().to_string()),
            left_out: Vec::new(),
            unexpected: Vec::new(),
            misshapen: Vec::new(),
        };
        for (name, info) in here.tensors() {
            let part = Part::Stored(&here, name.clone());
            saving.folder.put(name, info.clone(), part);
        }
        if let Some(encoder) = trained.encoder {
            saving.replace(encoder, &HUGGING_FACE_ENCODER);
        }
        if let Some(bridge) = trained.bridge {
            saving.replace(
                bridge,
                match self.kind() {
                    HuggingFaceKind::Instruction => &HUGGING_FACE_INSTRUCT,
                    _ => &HUGGING_FACE_BRIDGE,
                },
            );
        }
        if let Some(representation) = trained.representation {
            saving.replace(representation, &HUGGING_FACE_REPRESENTATION);
        }
        if !(saving.unexpected.is_empty() && saving.misshapen.is_empty()) {
            return Err(WeightError::Mismatch {
                file: self.path().display().to_string(),
                missing: Vec::new(),
                unexpected: saving.unexpected,
                misshapen: saving.misshapen,
            }
            .into());
        }
        let side = trained.encoder.and_then(|encoder| saving.side(encoder));
        write_folder(out, &saving.folder.joined(), self.path(), side)?;
        Ok(saving.left_out)
    }
}

struct Saving<'a> {
    here: &'a dyn TensorStore,
    folder: Assembled<'a>,
    left_out: Vec<LeftOut>,
    unexpected: Vec<String>,
    misshapen: Vec<String>,
}

impl Saving<'_> {
    fn replace<M: Module>(&mut self, module: &M, names: &NameMap) {
        for (path, data) in collect(module) {
            let Some(name) = (names.rename)(&path) else {
                self.left_out.push(LeftOut {
                    name: path,
                    reason: NO_PLACE,
                });
                continue;
            };
            match self.here.tensors().get(&name) {
                None => self.unexpected.push(name),
                Some(info) if !same_shape(&name, &info.shape, &data.shape().to_vec()) => {
                    self.misshapen.push(format!(
                        "{name}: {:?} in the file, {:?} in the model",
                        info.shape,
                        data.shape()
                    ))
                }
                Some(TensorInfo { dtype, .. }) => {
                    let info = TensorInfo {
                        dtype: *dtype,
                        shape: data.shape().to_vec(),
                    };
                    self.folder.put(&name, info, Part::Values(data));
                }
            }
        }
    }

    /// Height and width in pixels of the pictures that `encoder` has positions for, where these are not as many as the file's.
    fn side(&self, encoder: &VisionTransformer) -> Option<usize> {
        let [rows, columns] = encoder.grid();
        let positions = &self.here.tensors().get(POSITIONS)?.shape;
        let patch = self.here.tensors().get(PATCHES)?.shape.last()?;
        let other = positions.get(1).is_some_and(|count| *count != 1 + rows * columns);
        (other && rows == columns).then_some(rows * patch)
    }
}

/// Whether a tensor of the model fits that of the file: of positions, there may be more or fewer.
fn same_shape(name: &str, file: &[usize], model: &[usize]) -> bool {
    match (name == POSITIONS, file, model) {
        (true, [one, _, width], [other, _, other_width]) => one == other && width == other_width,
        _ => file == model,
    }
}
