//! Flickr30k: `results_20130124.token`, Karpathy's file, LAVIS's lists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::annotated::{Annotated, Listing};
use super::json::{Json, Layout};
use super::rows::Row;
use super::{DataSpec, Dataset, OpenOptions, SetError, karpathy, lavis};

/// By what the file is.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".token"], |spec, path, listing| {
        if path.extension().is_none_or(|end| end != "json") {
            return tokens(path, listing);
        }
        match Json::open(path)?.layout()? {
            Layout::Object => karpathy::read(spec, path, listing),
            _ => lavis::read(spec, path, listing),
        }
    })
}

/// Lines `NAME#NUMBER<tab>CAPTION`, without the spaces at their ends: a sample a picture, by name, as torchvision has them.
fn tokens(path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let text = fs::read_to_string(path).map_err(SetError::reading(path))?;
    let mut captions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (name, caption) = line.split_once('\t').unwrap_or((line, ""));
        let Some((picture, _)) = name.rsplit_once('#') else {
            let place = format!("line {}", index + 1);
            let problem = "a line is NAME#NUMBER, a tab and a caption";
            return Err(SetError::malformed_at(path, &place, problem));
        };
        captions.entry(picture).or_default().push(caption.to_owned());
    }
    for (picture, texts) in captions {
        listing.push(&Row {
            key: picture.to_owned(),
            picture: picture.to_owned(),
            texts,
            question: None,
            image_id: Some(picture.to_owned()),
        });
    }
    Ok(())
}
