//! Saving back to the form of `transformers`: what was trained in its place, all else as it was.

use std::collections::BTreeSet;
use std::path::Path;

use blip2_core::weights::{
    Assembled, NameMap, Part, TensorInfo, TensorStore, WeightError, collect, parameters,
};
use blip2_qformer::{
    Bridge, HUGGING_FACE_BRIDGE, HUGGING_FACE_INSTRUCT, HUGGING_FACE_REPRESENTATION, RepresentationModel,
    of_text_branch,
};
use blip2_vision_encoder::{HUGGING_FACE_ENCODER, VisionTransformer};
use burn::module::Module;
use burn::tensor::DType;

use crate::convert::{Changes, Instruction, LeftOut, in_thirds, write_folder};
use crate::{Blip2Error, HuggingFaceFolder, HuggingFaceKind};

const NO_PLACE: &str = "a retrieval model of transformers has no place for it";

/// Of the parts that are trained, what every folder has.
const QUERIES: &str = "query_tokens";
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
        Ok(self.save(out, trained, None)?.left_out)
    }

    /// The same; as an InstructBLIP, where the Q-Former of a trained bridge reads texts as `instruction` has it.
    pub(crate) fn save(
        &self,
        out: &Path,
        trained: Trained<'_>,
        instruction: Option<&Instruction>,
    ) -> Result<Saved, Blip2Error> {
        let here = in_thirds(self.store());
        let mut saving = Saving {
            here: &here,
            folder: Assembled::new(out.display().to_string()),
            left_out: Vec::new(),
            unexpected: Vec::new(),
            misshapen: Vec::new(),
            added: None,
        };
        let own = match self.kind() {
            HuggingFaceKind::Instruction => HUGGING_FACE_INSTRUCT,
            _ => HUGGING_FACE_BRIDGE,
        };
        let becomes = match instruction {
            Some(_) => HUGGING_FACE_INSTRUCT,
            None => own,
        };
        let renamed = trained
            .bridge
            .map_or(BTreeSet::new(), |bridge| names(bridge, &own));
        for (name, info) in here.tensors().iter().filter(|(name, _)| !renamed.contains(*name)) {
            let part = Part::Stored(&here, name.clone());
            saving.folder.put(name, info.clone(), part);
        }
        if let Some(encoder) = trained.encoder {
            saving.replace(encoder, &HUGGING_FACE_ENCODER, &HUGGING_FACE_ENCODER);
        }
        if let Some(bridge) = trained.bridge {
            let queries = here.tensors().get(QUERIES).map(|info| info.dtype);
            saving.added = queries.filter(|_| instruction.is_some());
            saving.replace(bridge, &own, &becomes);
        }
        if let Some(representation) = trained.representation {
            let names = &HUGGING_FACE_REPRESENTATION;
            saving.replace(representation, names, names);
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
        let changes = Changes {
            side: trained.encoder.and_then(|encoder| saving.side(encoder)),
            instruction,
        };
        let folder = saving.folder.joined();
        write_folder(out, &folder, self.path(), changes)?;
        Ok(Saved {
            written: folder.tensors().len(),
            left_out: saving.left_out,
        })
    }
}

/// What came of saving.
pub(crate) struct Saved {
    /// Tensors in the new folder.
    pub(crate) written: usize,
    /// Trained tensors that have no place there.
    pub(crate) left_out: Vec<LeftOut>,
}

/// What `map` calls the parameters of `module`.
fn names<M: Module>(module: &M, map: &NameMap) -> BTreeSet<String> {
    let paths = parameters(module).into_iter();
    paths
        .filter_map(|parameter| (map.rename)(&parameter.path))
        .collect()
}

struct Saving<'a> {
    here: &'a dyn TensorStore,
    folder: Assembled<'a>,
    left_out: Vec<LeftOut>,
    unexpected: Vec<String>,
    misshapen: Vec<String>,
    /// The number format of a text branch that this folder has not and the new one gets.
    added: Option<DType>,
}

impl Saving<'_> {
    /// Puts `module`, whose parameters are called as `here` has it in this folder, into the new one under the names of `there`.
    fn replace<M: Module>(&mut self, module: &M, here: &NameMap, there: &NameMap) {
        for (path, data) in collect(module) {
            let (Some(old), Some(name)) = ((here.rename)(&path), (there.rename)(&path)) else {
                self.left_out.push(LeftOut {
                    name: path,
                    reason: NO_PLACE,
                });
                continue;
            };
            let dtype = match (self.here.tensors().get(&old), self.added) {
                (Some(info), _) if !same_shape(&old, &info.shape, &data.shape().to_vec()) => {
                    self.misshapen.push(format!(
                        "{old}: {:?} in the file, {:?} in the model",
                        info.shape,
                        data.shape()
                    ));
                    continue;
                }
                (Some(info), _) => info.dtype,
                (None, Some(dtype)) if of_text_branch(&path) => dtype,
                (None, _) => {
                    self.unexpected.push(old);
                    continue;
                }
            };
            let shape = data.shape().to_vec();
            self.folder
                .put(&name, TensorInfo { dtype, shape }, Part::Values(data));
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
