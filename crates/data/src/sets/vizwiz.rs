//! VizWiz-VQA: questions that blind people asked of their own pictures, a list with ten answers each; test parts have none.

use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::json::Json;
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, Question, SetError, lavis};

#[derive(Deserialize)]
struct Asked {
    image: String,
    question: String,
    #[serde(default)]
    answers: Vec<Given>,
}

#[derive(Deserialize)]
struct Given {
    answer: String,
}

/// A sample a question, in the order of the file, named by its picture: each has one question.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".json"], read)
}

fn read(_: &DataSpec, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    Json::open(path)?.elements(|asked: Asked| {
        listing.push(&Row {
            key: asked.image.clone(),
            question: Some(Question {
                id: asked.image.clone(),
                text: asked.question,
                answers: lavis::tally(asked.answers.into_iter().map(|given| given.answer)),
            }),
            image_id: Some(asked.image.clone()),
            picture: asked.image,
            texts: Vec::new(),
        });
    })
}
