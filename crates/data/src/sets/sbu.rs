//! SBU captions: `sbu-captions-all.json`, parallel lists of addresses and captions, beside the pictures that img2dataset fetched
//! for them; or LAVIS's list.

use std::path::Path;

use serde::Deserialize;

use super::annotated::{Annotated, Listing};
use super::img2dataset::Fetched;
use super::json::{Json, Layout};
use super::{DataSpec, Dataset, OpenOptions, SetError, lavis};

#[derive(Deserialize)]
struct Lists {
    image_urls: Vec<String>,
    captions: Vec<String>,
}

/// A sample an entry, where there is a picture of it.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(
        spec,
        options,
        &[".json"],
        |spec, path, listing| match Json::open(path)?.layout()? {
            Layout::Object => read(spec, options, path, listing),
            _ => lavis::read(spec, path, listing),
        },
    )
}

fn read(spec: &DataSpec, options: &OpenOptions, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let Lists { image_urls, captions } = Json::open(path)?.parse()?;
    if image_urls.len() != captions.len() {
        let (urls, texts) = (image_urls.len(), captions.len());
        let problem = format!("{urls} image_urls and {texts} captions should be as many");
        return Err(SetError::malformed(path, problem));
    }
    let mut fetched = Fetched::open(spec, options, path)?;
    for (line, (url, caption)) in (0..).zip(image_urls.iter().zip(&captions)) {
        fetched.push(listing, line, caption, url)?;
    }
    listing.archives = fetched.into_archives();
    Ok(())
}
