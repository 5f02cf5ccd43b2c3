//! In which numbers the weights of a model are stored, and what they will take in memory; no weight is read.

use std::path::Path;

use blip2_core::layers::Packing;
use blip2_core::weights::{TensorInfo, half_precision, open_any};

use crate::registry::find;
use crate::{
    BRIDGE, Blip2Error, HuggingFaceFolder, REPRESENTATION, hugging_face, locate, model_folder, read_config,
};

/// What the names of the frozen models begin with in a folder of `transformers`.
const ENCODER: &str = "vision_model.";
const LANGUAGE_MODEL: &str = "language_model.";

/// The weights of a model before it is loaded.
#[derive(Default)]
pub struct StoredWeights {
    encoder: Vec<TensorInfo>,
    language_model: Vec<TensorInfo>,
    trained: Vec<TensorInfo>,
    /// Whether what was trained is packed with the frozen models.
    packs_trained: bool,
}

impl StoredWeights {
    /// Those of the model that [`crate::Blip2::from_pretrained`] loads from `folder` and `home`. A frozen model in a file of its
    /// own that cannot be read counts for nothing: to load it says why.
    ///
    /// # Errors
    /// [`Blip2Error`], with the file at fault.
    pub fn of(folder: &Path, home: &Path) -> Result<Self, Blip2Error> {
        let folder = locate(folder, None)?;
        match model_folder(&folder) {
            Ok(folder) => trained_here(&folder, home),
            Err(_) if folder.join(hugging_face::CONFIG).is_file() => {
                Ok(in_one_folder(&HuggingFaceFolder::open(&folder)?))
            }
            Err(error) => Err(error),
        }
    }

    /// How the frozen models are held as they are stored: in bfloat16, where most bytes of the language model, or without one
    /// of the whole model, are numbers of 16 bits.
    pub fn packing(&self) -> Option<Packing> {
        let decide = match self.language_model.is_empty() {
            true => vec![&self.encoder, &self.trained],
            false => vec![&self.language_model],
        };
        half_precision(decide.into_iter().flatten()).map(|_| Packing::Bf16)
    }

    /// About how many bytes the weights take once they are loaded with `packing`: of encoder and bridge, and of the language
    /// model, which is loaded when it is first asked. What is no table or linear layer is held in f32.
    pub fn bytes(&self, packing: Option<Packing>) -> [u64; 2] {
        let trained = packing.filter(|_| self.packs_trained).map(|_| Packing::Bf16);
        let bytes =
            |weights: &[TensorInfo], packing| weights.iter().map(|info| held(info, packing)).sum::<u64>();
        [
            bytes(&self.encoder, packing) + bytes(&self.trained, trained),
            bytes(&self.language_model, packing),
        ]
    }
}

fn in_one_folder(folder: &HuggingFaceFolder) -> StoredWeights {
    let mut weights = StoredWeights {
        packs_trained: true,
        ..StoredWeights::default()
    };
    for (name, info) in folder.store().tensors() {
        let part = if name.starts_with(LANGUAGE_MODEL) {
            &mut weights.language_model
        } else if name.starts_with(ENCODER) {
            &mut weights.encoder
        } else {
            &mut weights.trained
        };
        part.push(info.clone());
    }
    weights
}

fn trained_here(folder: &Path, home: &Path) -> Result<StoredWeights, Blip2Error> {
    let config = read_config(folder)?;
    let mut weights = StoredWeights::default();
    for file in [REPRESENTATION, BRIDGE].map(|name| folder.join(name)) {
        if file.is_file() {
            weights.trained.extend(infos(&file));
        }
    }
    let frozen = |path: &Path| find(path, home, "model").map_or(Vec::new(), |path| infos(&path));
    weights.encoder = frozen(&config.encoder.path);
    if let (true, Some(config)) = (folder.join(BRIDGE).is_file(), &config.language_model) {
        weights.language_model = frozen(&config.path);
    }
    Ok(weights)
}

fn infos(path: &Path) -> Vec<TensorInfo> {
    open_any(path).map_or(Vec::new(), |store| store.tensors().values().cloned().collect())
}

fn values(info: &TensorInfo) -> u64 {
    info.shape.iter().map(|side| *side as u64).product()
}

/// Bytes in memory of a tensor: packed where it is a matrix.
fn held(info: &TensorInfo, packing: Option<Packing>) -> u64 {
    let bits = match packing {
        Some(packing) if info.shape.len() == 2 => bits(packing),
        _ => 32,
    };
    values(info) * bits / 8
}

/// Bits a number, with the scales of its neighbours.
fn bits(packing: Packing) -> u64 {
    match packing {
        Packing::Bf16 => 16,
        Packing::Int8 => 9,
        Packing::Int4 => 5,
    }
}
