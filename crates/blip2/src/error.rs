//! What can go wrong with a composed model.

use std::path::PathBuf;

use blip2_core::ModelError;
use blip2_core::weights::WeightError;
use blip2_data::pixels::PixelsError;
use blip2_data::text::TextError;
use blip2_generation::GenerationError;
use blip2_hub::CacheError;
use blip2_llm_adapters::TokenizerError;
use thiserror::Error;

use crate::registry::LoaderError;

/// Any failure of this crate; causes are kept as sources.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Blip2Error {
    /// No folder for models can be derived from the environment.
    #[error("there is no folder for models: set BLIP2_HOME (neither XDG_CACHE_HOME nor HOME is usable)")]
    NoHome,
    /// The folder is no model.
    #[error(
        "{folder} is no model folder: it holds neither a `config.json` of `transformers` nor, it or its subfolder `model`, a \
         `blip2.json`; give a Hugging Face folder, or that of a finished training run",
        folder = folder.display()
    )]
    NotAModel {
        /// What was given.
        folder: PathBuf,
    },
    /// `blip2.json`, or something it names, contradicts itself.
    #[error("{path}: {reason}", path = path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// Key and problem.
        reason: String,
    },
    /// A name that the Hugging Face cache does not know.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Trained weights that this use needs are not in the folder.
    #[error("the model in {folder} was not trained for this: {need}", folder = folder.display())]
    Untrained {
        /// The model folder.
        folder: PathBuf,
        /// What is needed, and what to do.
        need: &'static str,
    },
    /// Vectors by a name that has none.
    #[error("`{unknown}` is not among what this model gives here: {known}")]
    NoVectors {
        /// What was asked for.
        unknown: String,
        /// What there is.
        known: String,
    },
    /// A conversation about nothing.
    #[error("there is no picture to talk about yet: give one first")]
    NoPicture,
    /// A frozen model or vocabulary is not where the configuration says.
    #[error(
        "the {what} {path} is not there: `cargo xtask assets` fetches what the demo needs; set BLIP2_HOME if it is kept \
         in another folder",
        path = path.display()
    )]
    Absent {
        /// Image encoder, language model or vocabulary.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A frozen model of a type that nobody has registered a loader for.
    #[error(
        "cannot tell how to load the {what} {path}: its type is {found}; known are {known}. Name the right one as `model_type`, or \
         register a loader",
        path = path.display()
    )]
    Unregistered {
        /// Image encoder or language model.
        what: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What it says it is.
        found: String,
        /// The types that there are loaders for.
        known: String,
    },
    /// The image encoder is damaged or does not fit its configuration.
    #[error("cannot load the image encoder {path}", path = path.display())]
    Encoder {
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: LoaderError,
    },
    /// The language model is damaged or of an unknown kind.
    #[error("cannot load the language model {path}", path = path.display())]
    LanguageModel {
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: LoaderError,
    },
    /// Reading or writing the files of a model folder.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// `read`, `write`, ...
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Weights that cannot be read, written, or that do not fit.
    #[error(transparent)]
    Weights(#[from] WeightError),
    /// An input that a model refuses.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Text that could not be written.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// A picture that cannot be used.
    #[error(transparent)]
    Pixels(#[from] PixelsError),
    /// Text that the Q-Former's tokenizer refuses.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Text that the language model's tokenizer refuses.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
