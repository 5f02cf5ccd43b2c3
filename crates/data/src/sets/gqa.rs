//! GQA: an object by question id, whose leading zeros count; or LAVIS's list.

use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::json::{Json, Layout};
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, Question, SetError, lavis};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    question: String,
    image_id: String,
    /// Test parts have none.
    answer: Option<String>,
    is_balanced: Option<bool>,
}

/// A sample a question, in the order of the file. `split = "balanced"` takes those of the balanced set alone.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let balanced = match spec.splits().as_slice() {
        [] => false,
        ["balanced"] => true,
        _ => return Err(spec.error("the only part within a file is `split = \"balanced\"`")),
    };
    Annotated::open(
        spec,
        options,
        &[".json"],
        |spec, path, listing| match Json::open(path)?.layout()? {
            Layout::ListOfImages if balanced => Err(SetError::malformed(
                path,
                "LAVIS's lists do not tell what is balanced: leave out `split`",
            )),
            Layout::ListOfImages => lavis::read(spec, path, listing),
            _ => read(path, balanced, listing),
        },
    )
}

fn read(path: &Path, balanced: bool, listing: &mut Listing) -> Result<(), SetError> {
    Json::open(path)?.entries(|id: String, asked: Asked| {
        if balanced && asked.is_balanced != Some(true) {
            return;
        }
        listing.push(&Row {
            key: id.clone(),
            picture: format!("{}.jpg", asked.image_id),
            texts: Vec::new(),
            question: Some(Question {
                id,
                text: asked.question,
                answers: lavis::tally(asked.answer),
            }),
            image_id: Some(asked.image_id),
        });
    })
}
