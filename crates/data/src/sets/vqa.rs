//! VQAv2 and OK-VQA: questions in one file, the answers of ten people in another, joined by the question's number.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::annotated::{Annotated, Listing};
use super::json::{Id, Json, Layout};
use super::rows::Row;
use super::{Answer, DataSpec, Dataset, OpenOptions, Question, SetError, lavis, reason};

#[derive(Deserialize)]
struct Questions {
    /// Part and year of the pictures, such as `train2014`.
    data_subtype: String,
    questions: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    image_id: u64,
    question_id: Id,
    question: String,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    question_id: Id,
    #[serde(deserialize_with = "counted")]
    answers: Vec<Answer>,
}

/// A sample a question, in the order of the questions' file; or LAVIS's list.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(
        spec,
        options,
        &[".json"],
        |spec, path, listing| match Json::open(path)?.layout()? {
            Layout::ListOfImages => lavis::read(spec, path, listing),
            _ => read(spec, path, listing),
        },
    )
}

fn read(spec: &DataSpec, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let Questions {
        data_subtype,
        questions,
    } = Json::open(path)?.parse()?;
    let mut answers = match &spec.annotations {
        None => None,
        Some(file) => {
            let file: Annotations = Json::open(file)?.parse()?;
            let pairs = file.annotations.into_iter();
            Some(
                pairs
                    .map(|own| (own.question_id, own.answers))
                    .collect::<HashMap<_, _>>(),
            )
        }
    };
    for asked in questions {
        let key = asked.question_id.to_string();
        let answers = match &mut answers {
            None => Vec::new(),
            Some(given) => match given.remove(&asked.question_id) {
                Some(answers) => answers,
                None => {
                    listing.leave_out(key, reason::NO_ANSWERS);
                    continue;
                }
            },
        };
        listing.push(&Row {
            key: key.clone(),
            picture: format!("{data_subtype}/COCO_{data_subtype}_{:012}.jpg", asked.image_id),
            texts: Vec::new(),
            question: Some(Question {
                id: key,
                text: asked.question,
                answers,
            }),
            image_id: Some(asked.image_id.to_string()),
        });
    }
    let mut orphans: Vec<Id> = answers.unwrap_or_default().into_keys().collect();
    orphans.sort();
    for orphan in orphans {
        listing.leave_out(orphan, reason::QUESTION_NOT_LISTED);
    }
    Ok(())
}

/// Ten answers are a few different ones: counted as they are read, half a million questions fit in memory.
fn counted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Answer>, D::Error> {
    #[derive(Deserialize)]
    struct Given {
        answer: String,
    }
    let given = Vec::<Given>::deserialize(deserializer)?;
    Ok(lavis::tally(given.into_iter().map(|given| given.answer)))
}
