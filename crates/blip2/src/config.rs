//! What a model is made of, as `blip2.json` and recipes say it.

use std::path::PathBuf;

use blip2_qformer::RepresentationConfig;
use serde::{Deserialize, Serialize};

use crate::Blip2Error;

/// The frozen image encoder and where its features are taken.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// File or folder, absolute or relative to the home folder, or a name that the Hugging Face cache holds.
    pub path: PathBuf,
    /// Which entry of the [`Registry`](crate::Registry) loads it, where no `config.json` at `path` says it.
    #[serde(default, alias = "kind", skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Height and width, in pixels, that pictures are brought to, where not to those that the folder's own processor names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<u32>,
    /// Features are the output of this block, counted from 1, or from the end: -1 is the last, -2 the one before it. 0 is the
    /// embeddings.
    #[serde(default = "last_block", alias = "features_after")]
    pub block: i32,
    /// Whether they pass through the encoder's last layer normalisation.
    #[serde(default)]
    pub final_norm: bool,
}

fn last_block() -> i32 {
    -1
}

/// The frozen language model and how it is addressed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LanguageModelConfig {
    /// GGUF file or Hugging Face folder, absolute or relative to the home folder, or a name that the Hugging Face cache holds.
    pub path: PathBuf,
    /// Which entry of the [`Registry`](crate::Registry) loads it, where neither `config.json` nor GGUF file at `path` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// What stands between the soft prompt and a caption; may be empty.
    pub prompt: String,
    /// What stands between the soft prompt and an answer, with `{}` for the question: `Question: {} Answer:`.
    pub question_prompt: String,
}

/// What the Q-Former behind the bridge reads beside the picture.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// No text: the paper's stage 2.
    #[default]
    Nothing,
    /// The question; the prompt, where nothing is asked: the paper's fine-tuning for VQA (section 4.3).
    Question,
    /// All that the language model reads: an instruction (InstructBLIP).
    Prompt,
}

impl Reads {
    /// Whether it reads no text.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// Everything that decides a model but its trained weights.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The frozen image encoder.
    pub encoder: EncoderConfig,
    /// The frozen language model; absent where stage 1 alone was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language_model: Option<LanguageModelConfig>,
    /// Sizes of Q-Former and heads.
    pub representation: RepresentationConfig,
    /// `vocab.txt` or `tokenizer.json` of an uncased BERT, absolute or relative to the home folder.
    pub vocabulary: PathBuf,
    /// Longest text of the Q-Former in tokens, `[CLS]` and `[SEP]` included; what is longer is cut.
    pub max_text_tokens: usize,
    /// What the Q-Former reads beside the picture in front of the language model.
    #[serde(default, skip_serializing_if = "Reads::is_nothing")]
    pub reads: Reads,
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
