//! The lists that LAVIS trains and evaluates with: `[{"image": ..., "caption": ...}]`, or `question` and `answer`.

use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::json::{Id, Json, Texts};
use super::rows::Row;
use super::{Answer, DataSpec, Dataset, OpenOptions, Question, SetError, paths};

#[derive(Deserialize)]
struct Entry {
    image: String,
    caption: Option<Texts>,
    #[serde(alias = "img_id")]
    image_id: Option<Id>,
    question: Option<String>,
    question_id: Option<Id>,
    answer: Option<Texts>,
}

/// A sample an entry: in training lists a caption or a question, in the others a picture with all of its captions.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".json"], read)
}

pub(super) fn read(_: &DataSpec, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let mut index = 0;
    Json::open(path)?.elements(|entry: Entry| {
        let key = match &entry.question_id {
            Some(id) => id.to_string(),
            None => index.to_string(),
        };
        index += 1;
        let answers = entry.answer.unwrap_or_default().0;
        let question = entry.question.map(|text| Question {
            id: key.clone(),
            text,
            answers: tally(answers),
        });
        let image_id = match entry.image_id {
            Some(id) => Some(id.to_string()),
            None if question.is_none() => Some(number_of(&entry.image)),
            None => None,
        };
        listing.push(&Row {
            key,
            picture: entry.image,
            texts: entry.caption.unwrap_or_default().0,
            question,
            image_id,
        });
    })
}

/// What evaluation calls a picture that its list does not number: its name behind the last underscore.
fn number_of(image: &str) -> String {
    let stem = paths::stem(Path::new(image));
    stem.rsplit('_').next().unwrap_or_default().to_owned()
}

/// Each answer once, the first given first, with how often it was given.
pub(super) fn tally(given: impl IntoIterator<Item = String>) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    for text in given {
        match answers.iter_mut().find(|answer| answer.text == text) {
            Some(answer) => answer.count += 1.0,
            None => answers.push(Answer { text, count: 1.0 }),
        }
    }
    answers
}
