//! Lists of addresses with captions, as CC3M and CC12M are handed out, beside the pictures that img2dataset fetched for them.

use std::path::Path;

use super::annotated::{Annotated, Listing};
use super::img2dataset::Fetched;
use super::{DataSpec, Dataset, OpenOptions, SetError, json};

/// A line of names, which img2dataset asks people to put in front.
const HEADERS: [[&str; 2]; 2] = [["caption", "url"], ["url", "caption"]];

/// A sample a line, where there is a picture of it.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    Annotated::open(spec, options, &[".tsv"], |spec, path, listing| {
        read(spec, options, path, listing)
    })
}

/// Lines are split at the tab alone: a quote is text, though img2dataset drops those around a caption. The caption comes first
/// in CC3M's file, the address in CC12M's: which is told by what an address looks like.
fn read(spec: &DataSpec, options: &OpenOptions, path: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let map = json::map(path)?;
    let bytes = map.as_deref().unwrap_or_default();
    let mut fetched = Fetched::open(spec, options, path)?;
    let mut number = 0;
    for (place, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let wrong = |problem: &str| SetError::malformed_at(path, &format!("line {}", place + 1), problem);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|error| wrong(&error.to_string()))?;
        if line.is_empty() {
            continue;
        }
        let (first, second) = line
            .split_once('\t')
            .ok_or_else(|| wrong("a caption and an address should be parted by a tab"))?;
        if place == 0 && HEADERS.contains(&[first, second]) {
            continue;
        }
        let (caption, url) = match (first.contains("://"), second.contains("://")) {
            (true, false) => (second, first),
            _ => (first, second),
        };
        fetched.push(listing, number, caption, url)?;
        number += 1;
    }
    listing.archives = fetched.into_archives();
    Ok(())
}
