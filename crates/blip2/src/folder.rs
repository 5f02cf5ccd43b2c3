//! Model folders: what was trained, on disk.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use blip2_core::Initializer;
use blip2_core::weights::{
    LoadOptions, NameMap, SafetensorsStore, TensorStore, WeightError, collect, load, write_safetensors,
};
use blip2_objectives::Bridge;
use blip2_qformer::RepresentationModel;
use burn::module::Module;
use burn::tensor::Device;

use crate::{Blip2Error, ModelConfig};

/// File name of the configuration in a model folder.
pub const CONFIG: &str = "blip2.json";
/// File name of what stage 1 trained.
pub const REPRESENTATION: &str = "representation.safetensors";
/// File name of what stage 2 trained.
pub const BRIDGE: &str = "bridge.safetensors";
/// Where a run folder keeps its model.
const MODEL: &str = "model";
/// The bridge's output layer, whose rows say how wide the language model is.
const PROJECTION: &str = "projection.weight";

/// Writes a model folder, which then holds exactly what is given: [`CONFIG`], [`REPRESENTATION`] where stage 1 was
/// trained, [`BRIDGE`] where stage 2 was. Tensors bear our own parameter paths and are f32.
///
/// The configuration is removed first and written last, so that an interrupted save leaves no model rather than a
/// mixture of two.
///
/// # Errors
/// [`Blip2Error::Io`] or [`Blip2Error::Weights`] where the disk refuses.
pub fn save_pretrained(
    folder: &Path,
    config: &ModelConfig,
    representation: Option<&RepresentationModel>,
    bridge: Option<&Bridge>,
) -> Result<(), Blip2Error> {
    let io = |action, path: PathBuf| move |source| Blip2Error::Io { action, path, source };
    std::fs::create_dir_all(folder).map_err(io("create", folder.to_owned()))?;
    for file in [CONFIG, REPRESENTATION, BRIDGE].map(|name| folder.join(name)) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("replace", file)(error)),
            _ => {}
        }
    }
    save_weights(&folder.join(REPRESENTATION), representation)?;
    save_weights(&folder.join(BRIDGE), bridge)?;
    let path = folder.join(CONFIG);
    let text = serde_json::to_vec_pretty(config).map_err(|error| Blip2Error::Config {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(io("write", path))
}

fn save_weights<M: Module>(path: &Path, module: Option<&M>) -> Result<(), WeightError> {
    module.map_or(Ok(()), |module| {
        write_safetensors(path, &collect(module), HashMap::new())
    })
}

/// The model folder that `folder` is, or, for a run folder, has in it.
///
/// # Errors
/// [`Blip2Error::NotAModel`] where it is neither.
pub fn model_folder(folder: &Path) -> Result<PathBuf, Blip2Error> {
    [folder.to_owned(), folder.join(MODEL)]
        .into_iter()
        .find(|candidate| candidate.join(CONFIG).is_file())
        .ok_or_else(|| Blip2Error::NotAModel {
            folder: folder.to_owned(),
        })
}

/// Reads the configuration of a model folder.
///
/// # Errors
/// [`Blip2Error::Io`] where it cannot be read, [`Blip2Error::Config`] where a key is unknown, absent or malformed.
pub fn read_config(folder: &Path) -> Result<ModelConfig, Blip2Error> {
    let path = folder.join(CONFIG);
    let text = std::fs::read(&path).map_err(|source| Blip2Error::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| Blip2Error::Config {
        path,
        reason: error.to_string(),
    })
}

/// What stage 1 trained, where `folder` holds it.
pub(crate) fn load_representation(
    folder: &Path,
    config: &ModelConfig,
    device: &Device,
) -> Result<Option<RepresentationModel>, Blip2Error> {
    let Some(store) = open_weights(&folder.join(REPRESENTATION))? else {
        return Ok(None);
    };
    let model = RepresentationModel::new(&mut Initializer::new(0, device), &config.representation)?;
    Ok(Some(load(model, &store, &NameMap::OWN, LoadOptions::default())?))
}

/// What stage 2 trained, where `folder` holds it.
pub(crate) fn load_bridge(
    folder: &Path,
    config: &ModelConfig,
    device: &Device,
) -> Result<Option<Bridge>, Blip2Error> {
    let Some(store) = open_weights(&folder.join(BRIDGE))? else {
        return Ok(None);
    };
    let rows = store
        .tensors()
        .get(PROJECTION)
        .and_then(|info| info.shape.first());
    let &hidden_size = rows.ok_or_else(|| WeightError::Absent {
        file: store.label(),
        name: PROJECTION.to_owned(),
    })?;
    let sizes = &config.representation;
    let initializer = &mut Initializer::new(0, device);
    let bridge = Bridge::new(
        initializer,
        &sizes.qformer,
        sizes.vision_layer_norm_eps,
        hidden_size,
    )?;
    Ok(Some(load(bridge, &store, &NameMap::OWN, LoadOptions::default())?))
}

fn open_weights(path: &Path) -> Result<Option<SafetensorsStore>, WeightError> {
    path.exists().then(|| SafetensorsStore::open(path)).transpose()
}
