//! Which loader makes an encoder or a language model of what stands in a folder or file: by `model_type`, as `config.json` has
//! it, or by the architecture of a GGUF file.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blip2_core::{LoadPlan, VisionEncoder};
use blip2_data::pixels::ImageProcessor;
use blip2_llm_adapters::{LoadedLanguageModel, MODEL_TYPES, load_language_model};
use blip2_vision_encoder::VisionTransformer;
use serde_json::Value;

use crate::hugging_face::CONFIG;
use crate::usage::read_json;
use crate::{Blip2Error, EncoderConfig, LanguageModelConfig, locate};

/// Why a loader gives no model.
pub type LoaderError = Box<dyn Error + Send + Sync>;

type EncoderLoader = dyn Fn(&EncoderConfig, &LoadPlan) -> Result<LoadedEncoder, LoaderError> + Send + Sync;
type LanguageLoader = dyn Fn(&Path, &LoadPlan) -> Result<LoadedLanguageModel, LoaderError> + Send + Sync;

/// A frozen image encoder with the pixels that belong to it.
pub struct LoadedEncoder {
    /// The encoder.
    pub encoder: Box<dyn VisionEncoder>,
    /// Brings pictures to the encoder's size and normalisation.
    pub processor: ImageProcessor,
}

impl LoadedEncoder {
    /// The encoder, where it is a vision transformer of this library, with positions for the pictures that it is given: what can be
    /// trained. Weights are shared until one of both changes.
    pub fn vision_transformer(&self) -> Option<VisionTransformer> {
        let encoder: &dyn Any = &*self.encoder;
        let encoder = encoder.downcast_ref::<VisionTransformer>()?.clone();
        let (height, width) = (self.processor.height as usize, self.processor.width as usize);
        encoder.with_positions_for(height, width).ok()
    }
}

/// Loaders by the type of what they load. [`Registry::default`] holds the families of this project; a program adds its own, or
/// replaces one, and passes the registry to whatever loads by configuration.
///
/// ```
/// use blip2::{LoadedEncoder, Registry};
/// use blip2_data::pixels::ImageProcessor;
/// use blip2_vision_encoder::VisionTransformer;
///
/// // A folder whose `config.json` says `"model_type": "my_type"`, or a recipe with `model_type = "my_type"`.
/// let registry = Registry::default().with_encoder("my_type", |config, plan| {
///     let encoder = VisionTransformer::from_hugging_face(&config.path, plan)?;
///     Ok(LoadedEncoder {
///         encoder: Box::new(encoder.with_features(config.block, config.final_norm)?),
///         processor: ImageProcessor::clip_square(config.image_size.unwrap_or(224)),
///     })
/// });
/// assert!(registry.encoder_types().any(|known| known == "my_type"));
/// ```
#[derive(Clone)]
pub struct Registry {
    encoders: BTreeMap<String, Arc<EncoderLoader>>,
    language_models: BTreeMap<String, Arc<LanguageLoader>>,
}

impl Default for Registry {
    /// The encoders and language models of `transformers` that this project has ([`VisionTransformer::MODEL_TYPES`],
    /// [`MODEL_TYPES`]).
    fn default() -> Self {
        let mut registry = Self {
            encoders: BTreeMap::new(),
            language_models: BTreeMap::new(),
        };
        for model_type in VisionTransformer::MODEL_TYPES {
            registry = registry.with_encoder(model_type, hugging_face_encoder);
        }
        for model_type in MODEL_TYPES {
            registry =
                registry.with_language_model(model_type, |path, plan| Ok(load_language_model(path, plan)?));
        }
        registry
    }
}

impl Registry {
    /// The same with `loader` for encoders of `model_type`. It is given the configuration with the path of what was found, and
    /// the plan on the device without autodiff.
    pub fn with_encoder(
        mut self,
        model_type: impl Into<String>,
        loader: impl Fn(&EncoderConfig, &LoadPlan) -> Result<LoadedEncoder, LoaderError> + Send + Sync + 'static,
    ) -> Self {
        self.encoders.insert(model_type.into(), Arc::new(loader));
        self
    }

    /// The same with `loader` for language models of `model_type`. It is given the folder or file, and the plan on the device
    /// without autodiff.
    pub fn with_language_model(
        mut self,
        model_type: impl Into<String>,
        loader: impl Fn(&Path, &LoadPlan) -> Result<LoadedLanguageModel, LoaderError> + Send + Sync + 'static,
    ) -> Self {
        self.language_models.insert(model_type.into(), Arc::new(loader));
        self
    }

    /// The types of encoders that it has loaders for.
    pub fn encoder_types(&self) -> impl Iterator<Item = &str> {
        self.encoders.keys().map(String::as_str)
    }

    /// The types of language models that it has loaders for.
    pub fn language_model_types(&self) -> impl Iterator<Item = &str> {
        self.language_models.keys().map(String::as_str)
    }

    /// Loads the image encoder of `config`, whose path stands under `home`, or is a name that the Hugging Face cache holds.
    ///
    /// # Errors
    /// [`Blip2Error::Absent`], [`Blip2Error::Cache`] or [`Blip2Error::Unregistered`] where there is nothing to load;
    /// [`Blip2Error::Encoder`] where its loader fails or it does not take pictures of the size that is asked for.
    pub fn encoder(
        &self,
        config: &EncoderConfig,
        home: &Path,
        plan: impl Into<LoadPlan>,
    ) -> Result<LoadedEncoder, Blip2Error> {
        const WHAT: &str = "image encoder";
        let path = find(&config.path, home, WHAT)?;
        let types = match &config.model_type {
            Some(given) => vec![given.clone()],
            None => model_types(&path)?,
        };
        let loader = types.iter().find_map(|named| self.encoders.get(named));
        let loader = loader.ok_or_else(|| Blip2Error::Unregistered {
            what: WHAT,
            path: path.clone(),
            found: or_nothing(types),
            known: self.encoder_types().collect::<Vec<_>>().join(", "),
        })?;
        let failed = |source| Blip2Error::Encoder {
            path: path.clone(),
            source,
        };
        let config = EncoderConfig {
            path: path.clone(),
            ..config.clone()
        };
        let loaded = loader(&config, &plan.into().frozen()).map_err(failed)?;
        let ImageProcessor { width, height, .. } = loaded.processor;
        let tokens = loaded.encoder.tokens(height as usize, width as usize);
        tokens.map_err(|error| failed(error.into()))?;
        Ok(loaded)
    }

    /// Loads the language model of `config`, with its tokenizer. Its path is found as that of an encoder is.
    ///
    /// # Errors
    /// [`Blip2Error::Absent`], [`Blip2Error::Cache`] or [`Blip2Error::Unregistered`] where there is nothing to load;
    /// [`Blip2Error::LanguageModel`] where its loader fails.
    pub fn language_model(
        &self,
        config: &LanguageModelConfig,
        home: &Path,
        plan: impl Into<LoadPlan>,
    ) -> Result<LoadedLanguageModel, Blip2Error> {
        let path = find(&config.path, home, "language model")?;
        self.language_model_at(&path, config.model_type.clone(), plan)
    }

    /// Loads the language model in the file or folder `path`, of `model_type` where it is given.
    pub(crate) fn language_model_at(
        &self,
        path: &Path,
        model_type: Option<String>,
        plan: impl Into<LoadPlan>,
    ) -> Result<LoadedLanguageModel, Blip2Error> {
        let failed = |source| Blip2Error::LanguageModel {
            path: path.to_owned(),
            source,
        };
        let model_type = match model_type {
            Some(given) => given,
            None => blip2_llm_adapters::model_type(path).map_err(|error| failed(error.into()))?,
        };
        let loader = self.language_models.get(&model_type);
        let loader = loader.ok_or_else(|| Blip2Error::Unregistered {
            what: "language model",
            path: path.to_owned(),
            found: format!("`{model_type}`"),
            known: self.language_model_types().collect::<Vec<_>>().join(", "),
        })?;
        loader(path, &plan.into().frozen()).map_err(failed)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Registry")
            .field("encoders", &self.encoders.keys())
            .field("language_models", &self.language_models.keys())
            .finish()
    }
}

/// Any encoder that [`VisionTransformer::from_hugging_face`] knows.
fn hugging_face_encoder(config: &EncoderConfig, plan: &LoadPlan) -> Result<LoadedEncoder, LoaderError> {
    let encoder = VisionTransformer::from_hugging_face(&config.path, plan)?;
    Ok(LoadedEncoder {
        encoder: Box::new(encoder.with_features(config.block, config.final_norm)?),
        processor: ImageProcessor::squashing(&config.path, config.image_size)?,
    })
}

/// Where `path` leads: under `home`, or to what the Hugging Face cache holds under that name.
pub(crate) fn find(path: &Path, home: &Path, what: &'static str) -> Result<PathBuf, Blip2Error> {
    let here = home.join(path);
    if here.exists() {
        return Ok(here);
    }
    match locate(path, None)? {
        found if found.exists() => Ok(found),
        _ => Err(Blip2Error::Absent { what, path: here }),
    }
}

/// What the `config.json` in `folder` calls its model, and the image encoder in it.
fn model_types(folder: &Path) -> Result<Vec<String>, Blip2Error> {
    let file = folder.join(CONFIG);
    if !file.is_file() {
        return Ok(Vec::new());
    }
    let config: Value = read_json(&file)?;
    let types = [&config["model_type"], &config["vision_config"]["model_type"]];
    Ok(types
        .into_iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect())
}

fn or_nothing(types: Vec<String>) -> String {
    match types.is_empty() {
        true => format!("no `{CONFIG}` with a model_type"),
        false => format!("`{}`", types.join("`, `")),
    }
}
