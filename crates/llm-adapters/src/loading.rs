//! From a path to a language model that is ready to use.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use blip2_core::weights::{GgufStore, GgufValue, NameMap, ParameterInfo, WeightError, parameters};
use blip2_core::{LanguageModel, LoadPlan, files};
use burn::module::Module;
use burn::tensor::Device;
use serde::Deserialize;
use thiserror::Error;

use crate::config::nested;
use crate::llama::Architecture;
use crate::{
    Gemma3, Gemma3Config, LanguageTokenizer, Llama, LlamaConfig, Opt, OptConfig, T5, T5Config, TokenizerError,
};

const SUPPORTED: &str = "a GGUF file of the `llama`, `qwen2`, `qwen3` or `gemma3` architecture, or a Hugging Face folder whose \
                         `config.json`, or the `text_config` in it, says `\"model_type\": \"llama\"`, `\"mistral\"`, \
                         `\"qwen2\"`, `\"qwen3\"`, `\"gemma3_text\"`, `\"opt\"` or `\"t5\"`, with its weights and tokenizer";

/// What llama.cpp calls the architecture of Gemma 3.
const GEMMA3: &str = "gemma3";

/// A language model that could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Missing or damaged files, or weights that do not fit.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// The tokenizer beside the weights.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Something else than the supported kinds.
    #[error("{path} is {found}, not a supported language model: give {SUPPORTED}", path = path.display())]
    Unsupported {
        /// What was given.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },
    /// Weights and tokenizer of different models.
    #[error("the tokenizer in {path} has {tokenizer} ids of text, but the model only {model}", path = path.display())]
    Vocabulary {
        /// Which file or folder.
        path: PathBuf,
        /// Ids of the tokenizer.
        tokenizer: usize,
        /// Rows of the model's output.
        model: usize,
    },
}

/// A frozen language model with all that belongs to it.
pub struct LoadedLanguageModel {
    /// The model.
    pub model: Box<dyn LanguageModel>,
    /// Its vocabulary.
    pub tokenizer: LanguageTokenizer,
}

/// Each type of model, as [`model_type`] tells it, that [`load_language_model`] takes.
pub const MODEL_TYPES: [&str; 8] = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    GEMMA3,
    "gemma3_text",
    "opt",
    "t5",
];

/// The type of the language model at `path`: the architecture of a GGUF file, or the `model_type` of a Hugging Face folder, alone
/// or as the `text_config` of a larger model.
///
/// # Errors
/// [`LoadError::Unsupported`] where it is neither, or does not say.
pub fn model_type(path: &Path) -> Result<String, LoadError> {
    match path.is_dir() {
        true => hugging_face_family(path),
        false => Ok(open_gguf(path)?
            .required("general.architecture", GgufValue::as_text)?
            .to_owned()),
    }
}

/// Loads the language model at `path` as `plan` says; what it is decides its content, not its name.
///
/// # Errors
/// [`LoadError::Unsupported`] names what can be loaded; the others say what is wrong with the files.
pub fn load_language_model(path: &Path, plan: impl Into<LoadPlan>) -> Result<LoadedLanguageModel, LoadError> {
    let (model, tokenizer) = if path.is_dir() {
        let model = from_hugging_face(path, plan)?;
        (model, LanguageTokenizer::from_hugging_face(path)?)
    } else {
        from_file(path, plan.into())?
    };
    let (ids, rows) = (tokenizer.text_vocabulary(), model.vocabulary_size());
    if ids > rows {
        return Err(LoadError::Vocabulary {
            path: path.to_owned(),
            tokenizer: ids,
            model: rows,
        });
    }
    Ok(LoadedLanguageModel { model, tokenizer })
}

fn open_gguf(path: &Path) -> Result<GgufStore, LoadError> {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|file| file.take(4).read(&mut magic));
    read.map_err(|source| WeightError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    if magic != GgufStore::MAGIC {
        return Err(unsupported(path, "a file that does not begin with `GGUF`"));
    }
    Ok(GgufStore::open(path)?)
}

fn from_file(path: &Path, plan: LoadPlan) -> Result<(Box<dyn LanguageModel>, LanguageTokenizer), LoadError> {
    let store = open_gguf(path)?;
    let architecture = store.required("general.architecture", GgufValue::as_text)?;
    let model: Box<dyn LanguageModel> = if architecture == GEMMA3 {
        Box::new(Gemma3::from_gguf(&store, plan)?)
    } else if Architecture::named(architecture).is_some() {
        Box::new(Llama::from_gguf(&store, plan)?)
    } else {
        return Err(unsupported(
            path,
            format!("a GGUF file of the `{architecture}` architecture"),
        ));
    };
    Ok((model, LanguageTokenizer::from_gguf(&store)?))
}

/// Loads the language model in a Hugging Face folder, alone or as the `text_config` and `language_model.` of a larger model,
/// as `plan` says, without a tokenizer.
///
/// # Errors
/// As for [`load_language_model`].
pub fn from_hugging_face(
    path: &Path,
    plan: impl Into<LoadPlan>,
) -> Result<Box<dyn LanguageModel>, LoadError> {
    let plan = plan.into();
    match hugging_face_family(path)?.as_str() {
        "llama" | "mistral" | "qwen2" | "qwen3" => Ok(Box::new(Llama::from_hugging_face(path, plan)?)),
        "gemma3_text" => Ok(Box::new(Gemma3::from_hugging_face(path, plan)?)),
        "opt" => Ok(Box::new(Opt::from_hugging_face(path, plan)?)),
        "t5" => Ok(Box::new(T5::from_hugging_face(path, plan)?)),
        other => Err(unknown(path, other)),
    }
}

/// The tensors of a language model, named as in a Hugging Face folder of its own.
pub struct LanguageModelTensors {
    /// Width of the token embeddings, which a bridge projects to.
    pub hidden_size: usize,
    /// The shape of each.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Those that may be absent: an output layer that may be the embedding.
    pub optional: fn(&str) -> bool,
    /// Others that may be there, and are left unread: copies.
    pub ignored: fn(&str) -> bool,
}

/// The tensors that the language model of a Hugging Face folder has by its `config.json`; nothing of the weights is read.
///
/// # Errors
/// As for [`load_language_model`].
pub fn hugging_face_tensors(path: &Path) -> Result<LanguageModelTensors, LoadError> {
    let (file, device) = (path.join("config.json"), Device::flex());
    Ok(match hugging_face_family(path)?.as_str() {
        "llama" | "mistral" | "qwen2" | "qwen3" => tensors(
            &Llama::new(LlamaConfig::from_hugging_face(&file)?, 0, &device),
            crate::llama::HUGGING_FACE,
            |_| false,
        ),
        "gemma3_text" => tensors(
            &Gemma3::new(Gemma3Config::from_hugging_face(&file)?, 0, &device),
            crate::gemma3::HUGGING_FACE,
            |_| false,
        ),
        "opt" => tensors(
            &Opt::new(OptConfig::from_hugging_face(&file)?, 0, &device),
            crate::opt::HUGGING_FACE,
            |_| false,
        ),
        "t5" => {
            // Whether the output layer is one of its own, the weights say.
            let config = T5Config {
                tied: false,
                ..T5Config::from_hugging_face(&file)?
            };
            tensors(&T5::new(config, 0, &device), crate::t5::HUGGING_FACE, |name| {
                name == crate::t5::HEAD
            })
        }
        other => return Err(unknown(path, other)),
    })
}

fn tensors<M: Module + LanguageModel>(
    model: &M,
    names: NameMap,
    optional: fn(&str) -> bool,
) -> LanguageModelTensors {
    let named = |parameter: ParameterInfo| Some(((names.rename)(&parameter.path)?, parameter.shape));
    LanguageModelTensors {
        hidden_size: model.hidden_size(),
        shapes: parameters(model).into_iter().filter_map(named).collect(),
        optional,
        ignored: names.ignored,
    }
}

/// The `model_type` of the language model in a Hugging Face folder.
fn hugging_face_family(path: &Path) -> Result<String, LoadError> {
    #[derive(Deserialize)]
    struct Family {
        model_type: String,
    }
    let text = files::read(&path.join("config.json")).map_err(|error| {
        unsupported(
            path,
            format!("a folder without a readable `config.json` ({error})"),
        )
    })?;
    let family: Result<Family, _> =
        serde_json::from_slice(&text).and_then(|config| serde_json::from_value(nested(config)));
    family.map(|family| family.model_type).map_err(|error| {
        unsupported(
            path,
            format!("a folder whose `config.json` cannot be understood ({error})"),
        )
    })
}

fn unknown(path: &Path, family: &str) -> LoadError {
    unsupported(path, format!("a folder with a model of type `{family}`"))
}

fn unsupported(path: &Path, found: impl Into<String>) -> LoadError {
    LoadError::Unsupported {
        path: path.to_owned(),
        found: found.into(),
    }
}
