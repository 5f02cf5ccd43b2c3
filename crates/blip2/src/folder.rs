//! Model folders: what was trained, on disk.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use blip2_core::Initializer;
use blip2_core::weights::{
    LoadOptions, NameMap, SafetensorsStore, TensorStore, WeightError, collect, load, write_safetensors,
};
use blip2_qformer::{Bridge, RepresentationModel};
use burn::module::Module;
use burn::tensor::Device;

use crate::usage::read_json;
use crate::{Blip2Error, LoadedEncoder, ModelConfig, Reads, Trained};

/// File name of the configuration in a model folder.
pub const CONFIG: &str = "blip2.json";
/// File name of what stage 1 trained.
pub const REPRESENTATION: &str = "representation.safetensors";
/// File name of what stage 2 trained.
pub const BRIDGE: &str = "bridge.safetensors";
/// File name of an encoder that was trained.
pub const ENCODER: &str = "encoder.safetensors";
/// Folder of the low-rank updates of the language model, as PEFT keeps them.
pub const ADAPTER: &str = "adapter";
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
    let trained = Trained {
        encoder: None,
        bridge,
        representation,
    };
    save_tuned(folder, config, trained)
}

/// As [`save_pretrained`], with an [`ENCODER`] that was trained, too: it takes the place of the weights at the encoder's path.
///
/// # Errors
/// As for [`save_pretrained`].
pub fn save_tuned(folder: &Path, config: &ModelConfig, trained: Trained<'_>) -> Result<(), Blip2Error> {
    let io = |action, path: PathBuf| move |source| Blip2Error::Io { action, path, source };
    std::fs::create_dir_all(folder).map_err(io("create", folder.to_owned()))?;
    for file in [CONFIG, REPRESENTATION, BRIDGE, ENCODER].map(|name| folder.join(name)) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io("replace", file)(error)),
            _ => {}
        }
    }
    save_weights(&folder.join(REPRESENTATION), trained.representation)?;
    save_weights(&folder.join(BRIDGE), trained.bridge)?;
    save_weights(&folder.join(ENCODER), trained.encoder)?;
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
    read_json(&folder.join(CONFIG))
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
    let (qformer, epsilon) = (&sizes.qformer, sizes.vision_layer_norm_eps);
    let initializer = &mut Initializer::new(0, device);
    let bridge = match config.reads {
        Reads::Nothing => Bridge::new(initializer, qformer, epsilon, hidden_size)?,
        Reads::Question | Reads::Prompt => Bridge::instructed(initializer, qformer, epsilon, hidden_size)?,
    };
    Ok(Some(load(bridge, &store, &NameMap::OWN, LoadOptions::default())?))
}

/// `encoder` with the weights that `folder` holds for it, where it was trained.
pub(crate) fn load_encoder(folder: &Path, encoder: LoadedEncoder) -> Result<LoadedEncoder, Blip2Error> {
    let path = folder.join(ENCODER);
    let Some(store) = open_weights(&path)? else {
        return Ok(encoder);
    };
    let vit = encoder.vision_transformer().ok_or_else(|| Blip2Error::Config {
        path,
        reason: "it holds an encoder that was trained, but the one that the folder names is no vision transformer of this library"
            .to_owned(),
    })?;
    Ok(LoadedEncoder {
        encoder: Box::new(load(vit, &store, &NameMap::OWN, LoadOptions::default())?),
        processor: encoder.processor,
    })
}

fn open_weights(path: &Path) -> Result<Option<SafetensorsStore>, WeightError> {
    path.exists().then(|| SafetensorsStore::open(path)).transpose()
}

#[cfg(test)]
mod tests {
    use blip2_core::weights::fingerprint;
    use blip2_qformer::{QFormerConfig, RepresentationConfig};

    use super::*;
    use crate::{EncoderConfig, LanguageModelConfig};

    const HIDDEN: usize = 24;

    fn config() -> ModelConfig {
        ModelConfig {
            encoder: EncoderConfig {
                path: "encoder.onnx".into(),
                model_type: Some("my-encoder".to_owned()),
                image_size: Some(28),
                block: 1,
                final_norm: false,
            },
            language_model: Some(LanguageModelConfig {
                path: "model.gguf".into(),
                model_type: None,
                prompt: String::new(),
                question_prompt: "Question: {} Answer:".to_owned(),
            }),
            representation: RepresentationConfig {
                qformer: QFormerConfig {
                    vocab_size: 20,
                    hidden_size: 8,
                    num_hidden_layers: 2,
                    num_attention_heads: 2,
                    intermediate_size: 16,
                    max_position_embeddings: 10,
                    encoder_hidden_size: 12,
                    num_query_tokens: 3,
                    ..QFormerConfig::default()
                },
                embedding_size: 4,
                ..RepresentationConfig::default()
            },
            vocabulary: "vocab.txt".into(),
            max_text_tokens: 10,
            reads: Reads::Nothing,
        }
    }

    fn trained(device: &Device) -> (RepresentationModel, Bridge) {
        let initializer = &mut Initializer::new(5, device);
        let model = RepresentationModel::new(initializer, &config().representation).unwrap();
        let bridge = Bridge::from_representation(initializer, model.clone(), HIDDEN);
        (model, bridge)
    }

    #[test]
    fn what_is_saved_is_loaded_bit_for_bit_also_from_a_training_device() {
        let folder = tempfile::tempdir().unwrap();
        let (model, bridge) = trained(&Device::flex().autodiff());
        save_pretrained(folder.path(), &config(), Some(&model), Some(&bridge)).unwrap();
        assert_eq!(read_config(folder.path()).unwrap(), config());
        let device = Device::flex();
        let loaded = load_representation(folder.path(), &config(), &device)
            .unwrap()
            .unwrap();
        assert_eq!(fingerprint(&loaded), fingerprint(&model));
        assert_ne!(fingerprint(&loaded), fingerprint(&bridge));
        let loaded = load_bridge(folder.path(), &config(), &device).unwrap().unwrap();
        assert_eq!(fingerprint(&loaded), fingerprint(&bridge));
    }

    #[test]
    fn a_folder_holds_exactly_what_was_given_last() {
        let folder = tempfile::tempdir().unwrap();
        let (model, bridge) = trained(&Device::flex());
        for (first, second) in [(true, true), (false, true), (true, false)] {
            save_pretrained(
                folder.path(),
                &config(),
                first.then_some(&model),
                second.then_some(&bridge),
            )
            .unwrap();
            let names = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            let mut expected = vec![CONFIG];
            expected.extend(first.then_some(REPRESENTATION));
            expected.extend(second.then_some(BRIDGE));
            expected.sort_unstable();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn a_save_that_fails_leaves_no_model() {
        let folder = tempfile::tempdir().unwrap();
        let (model, bridge) = trained(&Device::flex());
        save_pretrained(folder.path(), &config(), Some(&model), Some(&bridge)).unwrap();
        // A folder in the place of the weights cannot be replaced by them.
        std::fs::remove_file(folder.path().join(BRIDGE)).unwrap();
        std::fs::create_dir_all(folder.path().join(BRIDGE).join("in the way")).unwrap();
        let error = save_pretrained(folder.path(), &config(), Some(&model), Some(&bridge)).unwrap_err();
        assert!(error.to_string().contains(BRIDGE), "{error}");
        assert!(matches!(
            model_folder(folder.path()),
            Err(Blip2Error::NotAModel { .. })
        ));
    }

    #[test]
    fn weights_of_other_sizes_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        let (model, bridge) = trained(&Device::flex());
        save_pretrained(folder.path(), &config(), Some(&model), Some(&bridge)).unwrap();
        let mut other = config();
        other.representation.qformer.num_query_tokens += 1;
        let device = Device::flex();
        for error in [
            load_representation(folder.path(), &other, &device)
                .map(|_| ())
                .unwrap_err(),
            load_bridge(folder.path(), &other, &device)
                .map(|_| ())
                .unwrap_err(),
        ] {
            let message = error.to_string();
            assert!(
                message.contains("qformer.query_tokens: [1, 3, 8] in the file, [1, 4, 8] in the model"),
                "{message}"
            );
        }
    }
}
