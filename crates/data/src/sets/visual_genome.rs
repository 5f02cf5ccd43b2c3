//! Visual Genome: descriptions of regions, and questions with one answer each.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::json::{Id, Json, Layout};
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, Question, SetError, lavis, paths, reason};

/// The file beside the others that tells in which of two folders a picture lies.
const IMAGE_DATA: &str = "image_data.json";

#[derive(Deserialize)]
struct ImageData {
    #[serde(alias = "id")]
    image_id: Id,
    url: String,
}

#[derive(Deserialize)]
struct ImageOfRegions {
    #[serde(alias = "image_id")]
    id: Id,
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    #[serde(alias = "id")]
    region_id: Id,
    phrase: String,
}

#[derive(Deserialize)]
struct ImageOfQuestions {
    #[serde(alias = "image_id")]
    id: Id,
    qas: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(alias = "id")]
    qa_id: Id,
    question: String,
    answer: String,
}

/// `region_descriptions.json`: a sample a region, seen in its whole picture; or LAVIS's list.
pub(super) fn open_regions(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let regions = |path: &Path, listing: &mut Listing| {
        let pictures = Pictures::beside(path)?;
        Json::open(path)?.elements(|image: ImageOfRegions| {
            let (id, picture) = (image.id.to_string(), pictures.name(&image.id));
            if image.regions.is_empty() {
                listing.leave_out(&id, reason::NO_CAPTIONS);
            }
            for region in image.regions {
                listing.push(&Row {
                    key: region.region_id.to_string(),
                    picture: picture.clone(),
                    texts: vec![region.phrase],
                    question: None,
                    image_id: Some(id.clone()),
                });
            }
        })
    };
    Annotated::open(
        spec,
        options,
        &[".json"],
        |spec, path, listing| match Json::open(path)?.layout()? {
            Layout::ListOfImages => lavis::read(spec, path, listing),
            _ => regions(path, listing),
        },
    )
}

/// `question_answers.json`: a sample a question; or LAVIS's list.
pub(super) fn open_questions(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let questions = |path: &Path, listing: &mut Listing| {
        let pictures = Pictures::beside(path)?;
        Json::open(path)?.elements(|image: ImageOfQuestions| {
            let (id, picture) = (image.id.to_string(), pictures.name(&image.id));
            for asked in image.qas {
                let key = asked.qa_id.to_string();
                listing.push(&Row {
                    key: key.clone(),
                    picture: picture.clone(),
                    texts: Vec::new(),
                    question: Some(Question {
                        id: key,
                        text: asked.question,
                        answers: lavis::tally([asked.answer]),
                    }),
                    image_id: Some(id.clone()),
                });
            }
        })
    };
    Annotated::open(
        spec,
        options,
        &[".json"],
        |spec, path, listing| match Json::open(path)?.layout()? {
            Layout::ListOfImages => lavis::read(spec, path, listing),
            _ => questions(path, listing),
        },
    )
}

/// Where pictures lie, by their number.
struct Pictures(HashMap<Id, String>);

impl Pictures {
    /// As [`IMAGE_DATA`] beside `path` says, where it is there.
    fn beside(path: &Path) -> Result<Self, SetError> {
        let file = paths::folder_of(path).join(IMAGE_DATA);
        let mut names = HashMap::new();
        if file.exists() {
            Json::open(&file)?.elements(|image: ImageData| {
                let mut parts = image.url.rsplitn(3, '/');
                if let (Some(name), Some(folder)) = (parts.next(), parts.next()) {
                    names.insert(image.image_id, format!("{folder}/{name}"));
                }
            })?;
        }
        Ok(Self(names))
    }

    /// The end of its url, `VG_100K_2/1.jpg`; else its number, which is looked for in each folder of pictures.
    fn name(&self, id: &Id) -> String {
        match self.0.get(id) {
            Some(name) => name.clone(),
            None => format!("{id}.jpg"),
        }
    }
}
