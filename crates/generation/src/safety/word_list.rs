//! The filter that is built in: words.

use std::io;
use std::path::{Path, PathBuf};

use blip2_core::files;
use thiserror::Error;

use super::{Filter, Finding};

/// A file that is no list of words.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WordListError {
    /// It cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says nothing.
    #[error("{path} holds nothing: one `category: phrase` a line is needed", path = path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
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
    /// [`WordListError`] where the file cannot be read, or holds no phrase.
    pub fn from_file(path: &Path) -> Result<Self, WordListError> {
        let content =
            files::read(path).and_then(|content| String::from_utf8(content).map_err(io::Error::other));
        let text = content.map_err(|source| WordListError::Read {
            path: path.to_owned(),
            source,
        })?;
        let list = Self::parse(&text);
        match list.phrases.is_empty() {
            true => Err(WordListError::Empty {
                path: path.to_owned(),
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
