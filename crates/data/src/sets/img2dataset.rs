//! What img2dataset fetched for the lines of a list: shards of pictures, `00000/000000004.jpg`, with a table of what became of
//! each address beside each.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::annotated::Listing;
use super::json::Json;
use super::parquet::{Download, Downloads};
use super::rows::Row;
use super::{DataSpec, SetError, paths, reason};
use crate::pixels::has_picture_name;

/// The shards in a folder, and the one that was asked for last: lines come in order.
pub(super) struct Fetched {
    folder: PathBuf,
    /// Digits of a shard's name.
    digits: usize,
    /// Lines of all shards but the last.
    lines_per_shard: u64,
    current: Option<Shard>,
}

struct Shard {
    number: u64,
    /// Names of pictures within the folder, by the row of the shard.
    pictures: HashMap<u64, String>,
    table: HashMap<u64, Download>,
}

impl Fetched {
    /// The shards in the first folder of pictures that `spec` names, else beside `list`.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn open(spec: &DataSpec, list: &Path) -> Result<Self, SetError> {
        let folder = spec
            .images
            .first()
            .map_or(paths::folder_of(list), PathBuf::as_path);
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(folder).map_err(SetError::reading(folder))? {
            let path = entry.map_err(SetError::reading(folder))?.path();
            let stem = paths::stem(&path);
            let is_shard = path.is_dir() || path.extension().is_some_and(|end| end == "parquet");
            if is_shard && stem.parse::<u64>().is_ok() {
                names.push(stem);
            }
        }
        names.sort();
        names.dedup();
        let Some(first) = names.first() else {
            let problem =
                "it holds no shards of img2dataset, folders such as 00000: say by `images` where they are";
            return Err(SetError::malformed(folder, problem));
        };
        Ok(Self {
            folder: folder.to_owned(),
            digits: first.len(),
            lines_per_shard: match names.len() {
                1 if first.bytes().all(|digit| digit == b'0') => u64::MAX,
                _ => lines_of(folder, first)?,
            },
            current: None,
        })
    }

    /// A sample of `line`, with its caption and the address that it was fetched from; or why there is none.
    pub(super) fn push(
        &mut self,
        listing: &mut Listing,
        line: u64,
        caption: &str,
        url: &str,
    ) -> Result<(), SetError> {
        let (number, row) = (line / self.lines_per_shard, line % self.lines_per_shard);
        if self.current.as_ref().is_none_or(|shard| shard.number != number) {
            self.current = Some(self.load(number)?);
        }
        let shard = self.current.as_ref();
        let (picture, download) = match shard {
            Some(shard) => (shard.pictures.get(&row), shard.table.get(&row)),
            None => (None, None),
        };
        let key = match (download, picture) {
            (Some(download), _) => download.key.clone(),
            (None, Some(picture)) => paths::stem(Path::new(picture)),
            (None, None) => format!("line {line}"),
        };
        match (picture, download) {
            (_, Some(download)) if download.failure.is_some() => {
                listing.leave_out(key, download.failure.unwrap_or(reason::FAILED_TO_DOWNLOAD));
            }
            // Another list, or one that was changed since: a picture would get the text of another.
            (_, Some(download)) if download.url != url => listing.leave_out(key, reason::URL_DIFFERS),
            (None, _) => listing.leave_out(key, reason::PICTURE_MISSING),
            (Some(picture), _) => listing.push(&Row {
                key,
                picture: picture.clone(),
                texts: vec![caption.to_owned()],
                question: None,
                image_id: None,
            }),
        }
        Ok(())
    }

    fn load(&self, number: u64) -> Result<Shard, SetError> {
        let name = format!("{number:0digits$}", digits = self.digits);
        let row = |key: &str| key.get(self.digits..)?.parse::<u64>().ok();
        let mut pictures = HashMap::new();
        let folder = self.folder.join(&name);
        if folder.is_dir() {
            for entry in fs::read_dir(&folder).map_err(SetError::reading(&folder))? {
                let path = entry.map_err(SetError::reading(&folder))?.path();
                if has_picture_name(&path)
                    && let Some(file) = path.file_name().and_then(|file| file.to_str())
                    && let Some(row) = row(&paths::stem(&path))
                {
                    pictures.insert(row, format!("{name}/{file}"));
                }
            }
        }
        let table = self.folder.join(format!("{name}.parquet"));
        let table = match table.exists() {
            true => Downloads::open(&table)?,
            false => None,
        };
        let rows = table.iter().flat_map(Downloads::iter);
        Ok(Shard {
            number,
            pictures,
            table: rows
                .filter_map(|own| Some((row(&own.key)?, own.clone())))
                .collect(),
        })
    }
}

/// How many lines went into the shard `name`: as its statistics say, else its table.
fn lines_of(folder: &Path, name: &str) -> Result<u64, SetError> {
    #[derive(Deserialize)]
    struct Statistics {
        count: u64,
    }
    let statistics = folder.join(format!("{name}_stats.json"));
    let table = folder.join(format!("{name}.parquet"));
    let lines = if statistics.exists() {
        Json::open(&statistics)?.parse::<Statistics>()?.count
    } else if table.exists() {
        Downloads::open(&table)?.map_or(0, |table| table.iter().count() as u64)
    } else {
        0
    };
    match lines {
        0 => {
            let problem = format!(
                "neither {name}_stats.json nor {name}.parquet says how many lines of the list a shard has"
            );
            Err(SetError::malformed(folder, problem))
        }
        lines => Ok(lines),
    }
}

/// What could not be fetched of the shards in `folder`, as the tables in it say.
pub(super) fn failures(folder: &Path, listing: &mut Listing) -> Result<(), SetError> {
    let mut tables = Vec::new();
    for entry in fs::read_dir(folder).map_err(SetError::reading(folder))? {
        let path = entry.map_err(SetError::reading(folder))?.path();
        if path.extension().is_some_and(|end| end == "parquet") && path.with_extension("").is_dir() {
            tables.push(path);
        }
    }
    tables.sort();
    for path in tables {
        listing.begin(&path);
        for download in Downloads::open(&path)?.iter().flat_map(Downloads::iter) {
            if let Some(failure) = download.failure {
                listing.leave_out(&download.key, failure);
            }
        }
    }
    Ok(())
}
