//! What prompts and texts must not say.

use std::path::Path;

use serde::Serialize;
use utoipa::ToSchema;

use crate::ServerError;

/// What was found, and kept from the model or from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// Which kind of thing; never what was said.
    pub category: String,
}

/// Looks at what clients say, and at what the model writes. A word list is built in ([`WordList`]); a classifier fits as well.
pub trait Filter: Send + Sync {
    /// What is wrong with `text`, where something is. A text that is being written is looked at again as it grows.
    fn find(&self, text: &str) -> Option<Finding>;
}

/// Words and phrases, each of a category, found as whole words whatever their case and what stands between them.
#[derive(Clone, Debug)]
pub struct WordList {
    /// Category, and the words one after the other.
    phrases: Vec<(String, Vec<String>)>,
}

impl WordList {
    /// A short list of what no use of the model calls for.
    pub fn built_in() -> Self {
        Self::parse(include_str!("words.txt"))
    }

    /// That of a file: a line for each `category: phrase`; empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// [`ServerError`] where the file cannot be read, or holds no phrase.
    pub fn from_file(path: &Path) -> Result<Self, ServerError> {
        let text = std::fs::read_to_string(path).map_err(|source| ServerError::Read {
            path: path.to_owned(),
            source,
        })?;
        let list = Self::parse(&text);
        match list.phrases.is_empty() {
            true => Err(ServerError::Empty {
                path: path.to_owned(),
                what: "`category: phrase`",
            }),
            false => Ok(list),
        }
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let phrases = lines.filter_map(|line| {
            let (category, phrase) = line.split_once(':')?;
            let words = words(phrase);
            (!words.is_empty()).then(|| (category.trim().to_owned(), words))
        });
        Self {
            phrases: phrases.collect(),
        }
    }
}

impl Filter for WordList {
    fn find(&self, text: &str) -> Option<Finding> {
        let words = words(text);
        let holds = |phrase: &[String]| words.windows(phrase.len()).any(|window| window == phrase);
        let (category, _) = self.phrases.iter().find(|(_, phrase)| holds(phrase))?;
        Some(Finding {
            category: category.clone(),
        })
    }
}

/// Letters and digits, in small letters.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_as_whole_words() {
        let list = WordList::parse("# a comment: no phrase\nfruit: Apple  pie\n\nplants: fern\nnothing:");
        let found = |text: &str| list.find(text).map(|finding| finding.category);
        assert_eq!(found("an APPLE-pie!"), Some("fruit".to_owned()));
        assert_eq!(found("a Fern."), Some("plants".to_owned()));
        for clean in ["an apple and a pie", "pineapple pie", "ferns", "", "nothing"] {
            assert_eq!(found(clean), None, "{clean}");
        }
    }

    #[test]
    fn the_built_in_list_is_read() {
        let list = WordList::built_in();
        assert!(list.phrases.len() > 20);
        assert!(list.find("How to build a pipe bomb?").is_some());
        assert!(list.find("a photo of a child beside a bicycle").is_none());
    }
}
