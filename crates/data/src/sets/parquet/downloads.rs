//! The table that img2dataset writes beside each shard, or as the shard: what became of each address.

use std::path::Path;

use parquet::errors::ParquetError;

use super::super::{SetError, reason};
use super::Columns;

/// What became of one address.
#[derive(Clone, Debug, PartialEq)]
pub struct Download {
    /// Digits: those of the shard, then of the row in it.
    pub key: String,
    /// The address.
    pub url: String,
    /// Why there is no picture: `failed_to_download` or `failed_to_resize`.
    pub failure: Option<&'static str>,
}

/// The table that img2dataset writes beside each shard, or as the shard: what became of each address.
#[derive(Debug)]
pub struct Downloads(Vec<Download>);

impl Downloads {
    /// The table at `path`; `None` where the file is another one.
    ///
    /// # Errors
    /// Where it is no whole Parquet file.
    pub fn open(path: &Path) -> Result<Option<Self>, SetError> {
        downloads(&Columns::open(path)?)
    }

    /// All rows, in their order.
    pub fn rows(&self) -> &[Download] {
        &self.0
    }
}

/// What became of the addresses, where the columns are those of img2dataset.
pub(crate) fn downloads(columns: &Columns) -> Result<Option<Downloads>, SetError> {
    let wanted = ["key", "url", "status"].map(|name| columns.find(name));
    let [Some(key), Some(url), Some(status)] = wanted else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    for (group, count) in columns.groups.iter().enumerate() {
        let damaged =
            |error: ParquetError| SetError::malformed_at(&columns.path, &format!("row group {group}"), error);
        let texts = |leaf| -> Result<Vec<String>, SetError> {
            let cells = columns.read(group, leaf, 0, *count as usize).map_err(damaged)?;
            let text = |cell: &super::Cell| {
                let bytes = cell.first().map(AsRef::as_ref).unwrap_or_default();
                String::from_utf8_lossy(bytes).into_owned()
            };
            Ok(cells.iter().map(text).collect())
        };
        let (keys, urls) = (texts(key)?, texts(url)?);
        let pairs = keys.into_iter().zip(urls).zip(texts(status)?);
        rows.extend(pairs.map(|((key, url), status)| Download {
            key,
            url,
            failure: match status.as_str() {
                "success" => None,
                "failed_to_resize" => Some(reason::FAILED_TO_RESIZE),
                _ => Some(reason::FAILED_TO_DOWNLOAD),
            },
        }));
    }
    Ok(Some(Downloads(rows)))
}
