//! What prompts and texts must not say, where somebody wants that looked at: nothing here is on by itself.

mod guarded;
mod word_list;

use serde::Serialize;

pub use guarded::{Guarded, whole_words};
pub use word_list::{WordList, WordListError};

/// What was found, and kept from the model or from whoever reads its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of thing; never what was said.
    pub category: String,
}

/// Looks at what people ask, and at what the model writes. A word list is built in ([`WordList`]); a classifier fits as well.
pub trait Filter: Send + Sync {
    /// What is wrong with `text`, where something is. A text that is being written is looked at again as it grows.
    fn find(&self, text: &str) -> Option<Finding>;
}
