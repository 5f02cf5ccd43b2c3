//! How a model wants to be addressed: prompts, cleaning, and the settings of its author.

use std::path::Path;

use blip2_core::files;
use blip2_generation::{EarlyStopping, GenerationConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Blip2Error, Reads, answer_settings, caption_settings};

/// What a model folder says, or its family is known for.
pub(crate) struct Usage {
    /// In front of a caption.
    pub(crate) caption_prompt: String,
    /// In front of an answer, with `{}` for the question.
    pub(crate) question_prompt: String,
    /// Whether it was trained here: texts are then cleaned, and end, as in that training, which is LAVIS's; else they are taken
    /// and end as `transformers` has it.
    pub(crate) trained_here: bool,
    /// Longest text of the Q-Former; what is longer is cut.
    pub(crate) max_text_tokens: usize,
    /// What the Q-Former reads beside the picture, where it reads a text.
    pub(crate) reads: Reads,
    /// The id that stands for each query in a decoder-only model's text, where the family has one: penalties count it.
    pub(crate) image_token: Option<u32>,
    /// How captions are written where nothing else is asked for.
    pub(crate) captions: GenerationConfig,
    /// The same for answers.
    pub(crate) answers: GenerationConfig,
}

impl Usage {
    /// Of a folder that `transformers` wrote: texts are taken as they are, and end where `generation_config.json`, else
    /// `config.json`, says.
    pub(crate) fn of_hugging_face(folder: &Path, question_prompt: &str) -> Result<Self, Blip2Error> {
        let config: ConfigFile = read_json(&folder.join("config.json"))?;
        let path = folder.join("generation_config.json");
        let defaults: GenerationFile = match path.is_file() {
            true => read_json(&path)?,
            false => GenerationFile::default(),
        };
        let ends = defaults.eos_token_id.clone().or(config.text_config.eos_token_id);
        let answers = GenerationConfig {
            min_new_tokens: 0,
            end_tokens: ends.map_or(Vec::new(), Ids::list),
            ..answer_settings()
        };
        let captions = GenerationConfig {
            min_new_tokens: 0,
            end_tokens: answers.end_tokens.clone(),
            ..caption_settings()
        };
        Ok(Self {
            caption_prompt: String::new(),
            question_prompt: question_prompt.to_owned(),
            trained_here: false,
            max_text_tokens: usize::MAX,
            reads: Reads::Prompt,
            image_token: config.image_token_index,
            captions: defaults.over(captions),
            answers,
        })
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(alias = "image_token_id")]
    image_token_index: Option<u32>,
    #[serde(default)]
    text_config: TextFile,
}

#[derive(Deserialize, Default)]
struct TextFile {
    eos_token_id: Option<Ids>,
}

/// `generation_config.json`. Lengths that count the prompt in some families and not in others are left out.
#[derive(Deserialize, Default)]
struct GenerationFile {
    max_new_tokens: Option<usize>,
    min_new_tokens: Option<usize>,
    num_beams: Option<usize>,
    early_stopping: Option<EarlyStopping>,
    num_return_sequences: Option<usize>,
    length_penalty: Option<f64>,
    repetition_penalty: Option<f32>,
    no_repeat_ngram_size: Option<usize>,
    do_sample: Option<bool>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    eos_token_id: Option<Ids>,
}

impl GenerationFile {
    fn over(self, base: GenerationConfig) -> GenerationConfig {
        let sample = self.do_sample.unwrap_or(base.sample);
        let beams = if sample { 1 } else { base.num_beams };
        GenerationConfig {
            max_new_tokens: self.max_new_tokens.unwrap_or(base.max_new_tokens),
            min_new_tokens: self.min_new_tokens.unwrap_or(base.min_new_tokens),
            num_beams: self.num_beams.unwrap_or(beams),
            early_stopping: self.early_stopping.unwrap_or(base.early_stopping),
            num_return_sequences: self.num_return_sequences.unwrap_or(base.num_return_sequences),
            length_penalty: self.length_penalty.unwrap_or(base.length_penalty),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            no_repeat_ngram_size: self.no_repeat_ngram_size.unwrap_or(base.no_repeat_ngram_size),
            sample,
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            ..base
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl Ids {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Several(ids) => ids,
        }
    }
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Blip2Error> {
    let text = files::read(path).map_err(|source| Blip2Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| Blip2Error::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
