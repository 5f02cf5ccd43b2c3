//! How a model wants to be addressed: prompts, cleaning, and the settings of its author.

use std::path::Path;

use blip2_core::files;
use blip2_generation::{GenerationConfig, GenerationWishes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Blip2Error, ModelConfig, Reads, answer_settings, caption_settings};

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

/// How a model that was trained here is asked, as the `config.json` of an InstructBLIP made of it tells us. `transformers` keeps the
/// key and makes nothing of it.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Address {
    reads: Reads,
    prompt: String,
    question_prompt: String,
    pub(crate) max_text_tokens: usize,
}

impl Address {
    /// Where it stands in `config.json`.
    pub(crate) const KEY: &str = "blip2";

    /// That of a model of ours.
    pub(crate) fn of(config: &ModelConfig) -> Self {
        let words = config.language_model.as_ref();
        Self {
            reads: config.reads,
            prompt: words.map_or(String::new(), |words| words.prompt.clone()),
            question_prompt: words.map_or(String::new(), |words| words.question_prompt.clone()),
            max_text_tokens: config.max_text_tokens,
        }
    }

    /// That of an InstructBLIP from elsewhere, or of a BLIP-2 whose Q-Former reads nothing.
    fn usual(question_prompt: &str) -> Self {
        Self {
            reads: Reads::Prompt,
            prompt: String::new(),
            question_prompt: question_prompt.to_owned(),
            max_text_tokens: usize::MAX,
        }
    }
}

impl Usage {
    /// Of a folder that `transformers` wrote: texts are taken as they are, and end where `config.json` says of the language model; what
    /// `generation_config.json` says of ends is meant for the whole, of which `transformers` asks the language model alone to write.
    /// Where the folder does not say how it is asked, it is asked with `question_prompt`.
    pub(crate) fn of_hugging_face(folder: &Path, question_prompt: &str) -> Result<Self, Blip2Error> {
        let config: ConfigFile = read_json(&folder.join("config.json"))?;
        let path = folder.join("generation_config.json");
        let defaults: GenerationFile = match path.is_file() {
            true => read_json(&path)?,
            false => GenerationFile::default(),
        };
        let ends = config.text_config.unwrap_or_default().eos_token_id;
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
        let address = config.blip2.unwrap_or_else(|| Address::usual(question_prompt));
        Ok(Self {
            caption_prompt: address.prompt,
            question_prompt: address.question_prompt,
            trained_here: false,
            max_text_tokens: address.max_text_tokens,
            reads: address.reads,
            image_token: config.image_token_index.or(config.image_token_id),
            captions: defaults.over(&captions),
            answers,
        })
    }
}

#[derive(Deserialize)]
struct ConfigFile {
    image_token_index: Option<u32>,
    image_token_id: Option<u32>,
    text_config: Option<TextFile>,
    /// [`Address::KEY`].
    blip2: Option<Address>,
}

#[derive(Deserialize, Default)]
struct TextFile {
    eos_token_id: Option<Ids>,
}

/// `generation_config.json`. Lengths that count the prompt in some families and not in others are left out.
#[derive(Deserialize, Default)]
struct GenerationFile {
    #[serde(flatten)]
    wishes: GenerationWishes,
}

impl GenerationFile {
    /// Who draws needs no beams, unless they are asked for.
    fn over(mut self, base: &GenerationConfig) -> GenerationConfig {
        if self.wishes.sample.unwrap_or(base.sample) {
            self.wishes.num_beams.get_or_insert(1);
        }
        self.wishes.over(base)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    /// Old files say -1 for none.
    One(i64),
    Several(Vec<u32>),
}

impl Ids {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(id) => id.try_into().into_iter().collect(),
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
