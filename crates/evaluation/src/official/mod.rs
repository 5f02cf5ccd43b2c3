//! Results and annotations in the files of the official tasks: read, and joined by their ids.

mod captions;
mod error;
mod vqa;

use std::collections::HashMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use captions::{CaptionTask, caption_task, domains};
pub use error::OfficialError;
pub use vqa::{VqaTask, vqa_questions, vqa_task};

/// A file, by the name that messages give it.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds: JSON.
    pub content: &'a [u8],
}

/// What an image or a question is known by: a number in the official files, a text in some that were made after them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, expecting = "an id is a whole number or a text")]
pub enum Id {
    /// As in COCO and VQAv2.
    Number(i64),
    /// As in files that name pictures.
    Text(String),
}

impl Id {
    /// The id that reads as `text`: a number where it is one, in the way that numbers are written.
    pub fn of(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Self::Number(number),
            _ => Self::Text(text.to_owned()),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "`{text}`"),
        }
    }
}

/// Which of the annotated images or questions the results must speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All: what a published figure is measured on.
    All,
    /// Those that they hold; the others are left out.
    Subset,
}

impl Document<'_> {
    fn parse<Content: DeserializeOwned>(&self) -> Result<Content, OfficialError> {
        let mut reader = serde_json::Deserializer::from_slice(self.content);
        let malformed = |place: String, reason: serde_json::Error| OfficialError::Format {
            file: self.name.to_owned(),
            place,
            reason: reason.to_string(),
        };
        let content = serde_path_to_error::deserialize(&mut reader)
            .map_err(|error| malformed(error.path().to_string(), error.into_inner()))?;
        reader
            .end()
            .map_err(|error| malformed("the end".to_owned(), error))?;
        Ok(content)
    }

    /// Where the entry of each id is.
    fn places<'b>(
        &self,
        what: &'static str,
        ids: impl Iterator<Item = &'b Id>,
    ) -> Result<HashMap<&'b Id, usize>, OfficialError> {
        let mut places = HashMap::new();
        for (place, id) in ids.enumerate() {
            if let Some(first) = places.insert(id, place) {
                return Err(OfficialError::Doubled {
                    file: self.name.to_owned(),
                    what,
                    id: id.clone(),
                    first,
                    second: place,
                });
            }
        }
        Ok(places)
    }
}

/// Where in the results the entry of each of `annotated` is. Ids that the results lack are left out of a subset.
fn joined(
    what: &'static str,
    (results, result_ids): (Document, &[&Id]),
    (annotations, annotated): (Document, &[&Id]),
    coverage: Coverage,
) -> Result<Vec<Option<usize>>, OfficialError> {
    let places = results.places(what, result_ids.iter().copied())?;
    let known = annotations.places(what, annotated.iter().copied())?;
    if let Some((entry, id)) = result_ids
        .iter()
        .enumerate()
        .find(|(_, id)| !known.contains_key(**id))
    {
        return Err(OfficialError::Unknown {
            file: results.name.to_owned(),
            entry,
            what,
            id: (*id).clone(),
            annotations: annotations.name.to_owned(),
        });
    }
    let found: Vec<Option<usize>> = annotated.iter().map(|id| places.get(*id).copied()).collect();
    let missing: Vec<&Id> = annotated
        .iter()
        .copied()
        .filter(|id| !places.contains_key(id))
        .collect();
    match missing.first() {
        Some(first) if coverage == Coverage::All => Err(OfficialError::Missing {
            file: results.name.to_owned(),
            what,
            missing: missing.len(),
            all: annotated.len(),
            first: (*first).clone(),
            annotations: annotations.name.to_owned(),
        }),
        _ => Ok(found),
    }
}
