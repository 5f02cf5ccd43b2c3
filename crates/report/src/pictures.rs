//! The pictures of a report, read once and embedded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Report, ReportError};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// File name and data URI of every picture that `report` names, from the folder `pictures` of `run`.
pub(crate) fn embedded(report: &Report, run: &Path) -> Result<BTreeMap<String, String>, ReportError> {
    let names = report
        .samples
        .iter()
        .map(|sample| &sample.picture)
        .chain(report.looks.iter().map(|look| &look.picture));
    let mut pictures = BTreeMap::new();
    for name in names {
        if !pictures.contains_key(name) {
            pictures.insert(name.clone(), data_uri(&read(name, run)?));
        }
    }
    Ok(pictures)
}

/// The bytes of a PNG as an address that holds them itself.
pub(crate) fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

fn read(name: &str, run: &Path) -> Result<Vec<u8>, ReportError> {
    let mut parts = Path::new(name).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name) {
        return Err(ReportError::PictureName {
            name: name.to_owned(),
        });
    }
    let path = run.join("pictures").join(name);
    let bytes = fs::read(&path).map_err(|source| ReportError::File {
        action: "read",
        path: path.clone(),
        source,
    })?;
    match bytes.starts_with(SIGNATURE) {
        true => Ok(bytes),
        false => Err(ReportError::NotPng { path }),
    }
}
