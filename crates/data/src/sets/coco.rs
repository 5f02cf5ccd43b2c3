//! COCO's captions (2014, 2017), and NoCaps, which has their form and tells a domain of each picture.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::json::{Id, Json, Layout};
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, SetError, lavis, reason};

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    /// Test parts have none: pictures to write captions of.
    annotations: Option<Vec<Annotation>>,
}

#[derive(Deserialize)]
struct Image {
    id: Id,
    file_name: Option<String>,
    domain: Option<String>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Id,
    caption: String,
}

/// A sample a picture, in the order of the pictures' ids, as `pycocotools` and torchvision have them.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".json"], read)
}

/// The same, or the list that LAVIS made of it.
pub(super) fn open_nocaps(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    // Nobody trains on it: its validation part is for scoring, its test part has no captions.
    let options = OpenOptions {
        textless: true,
        ..options.clone()
    };
    Annotated::open(
        spec,
        &options,
        &[".json"],
        |spec, path, listing| match Json::open(path)?.layout()? {
            Layout::ListOfImages => lavis::read(spec, path, listing),
            _ => read(spec, path, listing),
        },
    )
}

fn read(spec: &DataSpec, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let file: File = Json::open(path)?.parse()?;
    let textless = listing.textless || file.annotations.is_none();
    // An image that is listed twice is one image; the last entry counts, as in pycocotools.
    let images: BTreeMap<Id, Image> = file
        .images
        .into_iter()
        .map(|image| (image.id.clone(), image))
        .collect();
    let places: HashMap<&Id, usize> = images.keys().enumerate().map(|(place, id)| (id, place)).collect();
    let mut captions: Vec<(usize, String)> = Vec::new();
    for annotation in file.annotations.into_iter().flatten() {
        match places.get(&annotation.image_id) {
            Some(place) => captions.push((*place, annotation.caption)),
            None => listing.leave_out(annotation.image_id, reason::IMAGE_NOT_LISTED),
        }
    }
    // Stable: the captions of an image stay in the order of the file.
    captions.sort_by_key(|(place, _)| *place);
    let mut captions = captions.into_iter().peekable();
    let splits = spec.splits();
    for (place, (id, image)) in images.into_iter().enumerate() {
        let own = std::iter::from_fn(|| captions.next_if(|(of, _)| *of == place));
        let texts: Vec<String> = own.map(|(_, caption)| caption).collect();
        let domain = image.domain.as_deref().unwrap_or_default();
        if !splits.is_empty() && !splits.contains(&domain) {
            continue;
        }
        let key = id.to_string();
        match image.file_name {
            None => listing.leave_out(key, reason::PICTURE_MISSING),
            Some(_) if texts.is_empty() && !textless => listing.leave_out(key, reason::NO_CAPTIONS),
            Some(picture) => listing.rows.push(&Row {
                key: key.clone(),
                picture,
                texts,
                question: None,
                image_id: Some(key),
            }),
        }
    }
    Ok(())
}
