//! Karpathy's `dataset_coco.json` and `dataset_flickr30k.json`: pictures with sentences, each in a split.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::json::{Id, Json};
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, SetError};

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    /// The folder, in COCO's file alone; it need not be that of the split.
    filepath: Option<String>,
    filename: String,
    imgid: Id,
    cocoid: Option<Id>,
    split: String,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

/// A sample a picture, in the order of the file.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".json"], read)
}

pub(super) fn read(spec: &DataSpec, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let file: File = Json::open(path)?.parse()?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    file.images
        .iter()
        .for_each(|image| *counts.entry(&image.split).or_default() += 1);
    let splits = spec.choose_splits(&counts)?;
    for image in &file.images {
        if !splits.contains(&image.split) {
            continue;
        }
        let id = image.cocoid.as_ref().unwrap_or(&image.imgid).to_string();
        listing.push(&Row {
            key: id.clone(),
            picture: match &image.filepath {
                Some(folder) => format!("{folder}/{}", image.filename),
                None => image.filename.clone(),
            },
            texts: image
                .sentences
                .iter()
                .map(|sentence| sentence.raw.clone())
                .collect(),
            question: None,
            image_id: Some(id),
        });
    }
    Ok(())
}
