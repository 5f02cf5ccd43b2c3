//! The image folders of Hugging Face's `datasets`: pictures with a `metadata.jsonl` or `metadata.csv`, in one folder or one for
//! each part.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::annotated::{Annotated, Listing};
use super::records::{Fields, lines, table};
use super::{DataSpec, Dataset, OpenOptions, SetError, paths, reason};
use crate::pixels::has_picture_name;

/// Names of the files that say what the pictures are.
const METADATA: [&str; 2] = ["metadata.jsonl", "metadata.csv"];
/// The field that names a picture.
const PICTURES: [&str; 1] = ["file_name"];

/// A sample an entry, in the order of the metadata; the key is the picture's path within the folder.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let root = Path::new(&spec.path);
    let mut parts: BTreeMap<String, PathBuf> = BTreeMap::new();
    if let Some(metadata) = metadata_of(root) {
        parts.insert(String::new(), metadata);
    } else {
        for entry in fs::read_dir(root).map_err(SetError::reading(root))? {
            let folder = entry.map_err(SetError::reading(root))?.path();
            if let (Some(metadata), Some(name)) = (metadata_of(&folder), folder.file_name()) {
                parts.insert(name.to_string_lossy().into_owned(), metadata);
            }
        }
    }
    if parts.is_empty() {
        let problem = format!("neither it nor a folder in it has a {}", METADATA.join(" or "));
        return Err(SetError::malformed(root, problem));
    }
    let mut counts = BTreeMap::new();
    for (name, metadata) in &parts {
        counts.insert(name.as_str(), pictures(paths::folder_of(metadata))?.len() as u64);
    }
    let chosen = spec.choose_splits(&counts)?;
    let mut listing = Listing::new(options.textless);
    for name in &chosen {
        read(spec, name, &parts[name.as_str()], &mut listing)?;
    }
    Ok(Annotated::within(spec.name(), root, listing))
}

fn metadata_of(folder: &Path) -> Option<PathBuf> {
    let files = METADATA.map(|name| folder.join(name));
    files.into_iter().find(|file| file.is_file())
}

/// Paths of all pictures in `folder`, relative to it, in the order of their names.
fn pictures(folder: &Path) -> Result<Vec<String>, SetError> {
    let (mut files, _) = paths::below(folder)?;
    files.retain(|file| has_picture_name(Path::new(file)));
    Ok(files)
}

fn read(spec: &DataSpec, folder: &str, metadata: &Path, listing: &mut Listing) -> Result<(), SetError> {
    listing.begin(metadata);
    let fields = Fields::of(spec, &PICTURES).within(folder);
    let mut mentioned = HashSet::new();
    let each = |place, number, entry: serde_json::Map<_, _>| {
        let name = entry.get(PICTURES[0]).and_then(serde_json::Value::as_str);
        mentioned.extend(name.map(str::to_owned));
        fields.push(listing, (metadata, place), number, entry)
    };
    match metadata.extension().is_some_and(|end| end == "csv") {
        true => table(metadata, each)?,
        false => lines(metadata, each)?,
    }
    for picture in pictures(paths::folder_of(metadata))? {
        if !mentioned.contains(&picture) {
            listing.leave_out(picture, reason::NOT_IN_METADATA);
        }
    }
    Ok(())
}
