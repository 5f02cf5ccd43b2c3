//! The ids that begin, end and fill up texts, as `config.json` says them.

use serde::{Deserialize, Deserializer};

use crate::config::said;
use crate::tokenizer_files::Family;

/// The special ids of a language model; what its file leaves out is that of its family, as in `transformers`.
#[derive(Default)]
pub(crate) struct SpecialIds {
    pub(crate) family: Family,
    pub(crate) beginning: Option<u32>,
    pub(crate) end_of_text: Option<u32>,
    pub(crate) padding: Option<u32>,
}

/// `config.json`. A key that is absent is something else than one that says `null`: there is no such id.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    model_type: Family,
    #[serde(default, deserialize_with = "said")]
    bos_token_id: Option<Id>,
    #[serde(default, deserialize_with = "said")]
    eos_token_id: Option<Id>,
    #[serde(default, deserialize_with = "said")]
    pad_token_id: Option<Id>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    /// Old files say -1 for none.
    One(i64),
    Several(Vec<u32>),
    None(()),
}

impl Id {
    fn first(self) -> Option<u32> {
        match self {
            Self::One(id) => id.try_into().ok(),
            Self::Several(ids) => ids.first().copied(),
            Self::None(()) => None,
        }
    }
}

impl<'de> Deserialize<'de> for SpecialIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = File::deserialize(deserializer)?;
        // Beginning, end, padding.
        let usual = match file.model_type {
            Family::Opt => [Some(2), Some(2), Some(1)],
            Family::T5 => [None, Some(1), Some(0)],
            Family::Llama => [Some(1), Some(2), None],
            Family::Gemma3 => [Some(2), Some(1), Some(0)],
            Family::Qwen2 | Family::Other => [None; 3],
        };
        let or = |said: Option<Id>, usual| said.map_or(usual, Id::first);
        Ok(Self {
            family: file.model_type,
            beginning: or(file.bos_token_id, usual[0]),
            end_of_text: or(file.eos_token_id, usual[1]),
            padding: or(file.pad_token_id, usual[2]),
        })
    }
}
