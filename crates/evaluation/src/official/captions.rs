//! COCO captions: results `[{"image_id", "caption"}]`, annotations `{"annotations": [{"image_id", "caption"}]}` with several
//! captions an image, as of `captions_val2014.json` and of the files that are made like it.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Coverage, Document, Id, OfficialError, joined};
use crate::caption::CaptionedImage;

const IMAGE: &str = "image";

/// Captioned images, in the order of the annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionTask {
    /// What each image is known by.
    pub ids: Vec<Id>,
    /// What was said of it, and what people said.
    pub images: Vec<CaptionedImage>,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Caption>,
}

#[derive(Deserialize)]
struct Caption {
    image_id: Id,
    caption: String,
}

/// The domain of each image in NoCaps' `annotations`: `in-domain`, `near-domain` or `out-domain`. Nothing of an image that has
/// none, as in COCO.
///
/// # Errors
/// [`OfficialError::Format`].
pub fn domains(annotations: Document) -> Result<HashMap<Id, String>, OfficialError> {
    #[derive(Deserialize)]
    struct Images {
        images: Vec<Image>,
    }
    #[derive(Deserialize)]
    struct Image {
        id: Id,
        domain: Option<String>,
    }
    let Images { images } = annotations.parse()?;
    Ok(images
        .into_iter()
        .filter_map(|image| Some((image.id, image.domain?)))
        .collect())
}

/// Joins the captions in `results` with those of people in `annotations`.
///
/// # Errors
/// [`OfficialError`] names file, entry and id.
pub fn caption_task(
    results: Document,
    annotations: Document,
    coverage: Coverage,
) -> Result<CaptionTask, OfficialError> {
    let written: Vec<Caption> = results.parse()?;
    let of_people: Annotations = annotations.parse()?;
    let (mut ids, mut references, mut places) = (Vec::new(), Vec::new(), HashMap::new());
    for Caption { image_id, caption } in of_people.annotations {
        let place = *places.entry(image_id.clone()).or_insert_with(|| {
            ids.push(image_id);
            references.push(Vec::new());
            ids.len() - 1
        });
        references[place].push(caption);
    }
    let written_ids: Vec<&Id> = written.iter().map(|caption| &caption.image_id).collect();
    let annotated: Vec<&Id> = ids.iter().collect();
    let found = joined(
        IMAGE,
        (results, &written_ids),
        (annotations, &annotated),
        coverage,
    )?;
    let images = ids.into_iter().zip(references).zip(found);
    let (ids, images) = images
        .filter_map(|((id, references), place)| {
            let candidate = written[place?].caption.clone();
            Some((
                id,
                CaptionedImage {
                    candidate,
                    references,
                },
            ))
        })
        .unzip();
    Ok(CaptionTask { ids, images })
}
