//! What img2dataset fetched for the lines of a list: shards of pictures, folders `00000/000000004.jpg` or archives `00000.tar`,
//! with a table of what became of each address beside each.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::annotated::Listing;
use super::json::Json;
use super::parquet::{Download, Downloads};
use super::rows::Row;
use super::webdataset::{Rules, WebDataset, escape_braces};
use super::{DataSpec, Dataset, OpenOptions, SetError, paths, reason};
use crate::pixels::has_picture_name;

/// The shards in a folder, and the one that was asked for last: lines come in order.
pub(super) struct Fetched {
    folder: PathBuf,
    /// Digits of a shard's name.
    digits: usize,
    /// Lines of all shards but the last.
    lines_per_shard: u64,
    current: Option<Shard>,
    /// The archives, where shards are not folders.
    archives: Option<Archives>,
}

/// Shards as archives.
struct Archives {
    set: WebDataset,
    /// Numbers of the shards, in the order of the set.
    numbers: Vec<u64>,
}

struct Shard {
    number: u64,
    /// By the row of the shard: a key, and the picture's name within the folder or its place in the archives.
    pictures: HashMap<u64, (String, String)>,
    table: HashMap<u64, Download>,
}

impl Fetched {
    /// The shards in the first folder of pictures that `spec` names, else beside `list`.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn open(spec: &DataSpec, options: &OpenOptions, list: &Path) -> Result<Self, SetError> {
        let folder = spec
            .images
            .first()
            .map_or(paths::folder_of(list), PathBuf::as_path);
        let (mut names, mut archives) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(folder).map_err(SetError::reading(folder))? {
            let path = entry.map_err(SetError::reading(folder))?.path();
            let stem = paths::stem(&path);
            let Ok(number) = stem.parse::<u64>() else {
                continue;
            };
            let ends_with = |end: &str| path.extension().is_some_and(|own| own == end);
            if ends_with("tar") {
                archives.push(number);
            }
            if path.is_dir() || ends_with("tar") || ends_with("parquet") {
                names.push(stem);
            }
        }
        names.sort();
        names.dedup();
        archives.sort_unstable();
        let Some(first) = names.first() else {
            let problem = "it holds no shards of img2dataset, folders such as 00000 or archives such as 00000.tar: say by `images` where they are";
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
            archives: match archives.is_empty() {
                true => None,
                false => Some(Archives::open(spec, options, folder, archives, first.len())?),
            },
        })
    }

    /// The archives, for whose samples rows were pushed; `None` where they are of files.
    pub(super) fn into_archives(self) -> Option<Box<dyn Dataset>> {
        let archives = self.archives?;
        Some(Box::new(archives.set))
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
            (None, Some((key, _))) => key.clone(),
            (None, None) => format!("line {line}"),
        };
        match (picture, download) {
            (_, Some(download)) if download.failure.is_some() => {
                listing.leave_out(key, download.failure.unwrap_or(reason::FAILED_TO_DOWNLOAD));
            }
            // Another list, or one that was changed since: a picture would get the text of another.
            (_, Some(download)) if download.url != url => listing.leave_out(key, reason::URL_DIFFERS),
            (None, _) => listing.leave_out(key, reason::PICTURE_MISSING),
            (Some((_, picture)), _) => listing.push(&Row {
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
                    pictures.insert(row, (paths::stem(&path), format!("{name}/{file}")));
                }
            }
        }
        if let Some(archives) = &self.archives {
            archives.pictures(number, &row, &mut pictures)?;
        }
        let table = self.folder.join(format!("{name}.parquet"));
        let table = match table.exists() {
            true => Downloads::open(&table)?,
            false => None,
        };
        let rows = table.iter().flat_map(Downloads::rows);
        Ok(Shard {
            number,
            pictures,
            table: rows
                .filter_map(|own| Some((row(&own.key)?, own.clone())))
                .collect(),
        })
    }
}

impl Archives {
    fn open(
        spec: &DataSpec,
        options: &OpenOptions,
        folder: &Path,
        numbers: Vec<u64>,
        digits: usize,
    ) -> Result<Self, SetError> {
        let paths = numbers.iter().map(|number| {
            let path = folder.join(format!("{number:0digits$}.tar"));
            escape_braces(&path.display().to_string())
        });
        // Their texts are not asked for: the list counts.
        let rules = Rules {
            needs_text: false,
            ..Rules::default()
        };
        let paths = paths.collect::<Vec<_>>().join("::");
        Ok(Self {
            set: WebDataset::of(spec, options, &paths, rules)?,
            numbers,
        })
    }

    /// Adds the places of the samples of the shard `number` to `pictures`, by their rows.
    fn pictures(
        &self,
        number: u64,
        row: &impl Fn(&str) -> Option<u64>,
        pictures: &mut HashMap<u64, (String, String)>,
    ) -> Result<(), SetError> {
        let runs = self.set.runs();
        let Ok(shard) = self.numbers.binary_search(&number) else {
            return Ok(());
        };
        let start: u64 = runs[..shard].iter().sum();
        for index in start..start + runs[shard] {
            let key = self.set.key(index).map_err(|error| SetError::Spec {
                spec: self.set.name().to_owned(),
                problem: error.to_string(),
            })?;
            pictures.extend(row(&key).map(|row| (row, (key, index.to_string()))));
        }
        Ok(())
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
        Downloads::open(&table)?.map_or(0, |table| table.rows().len() as u64)
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
        for download in Downloads::open(&path)?.iter().flat_map(Downloads::rows) {
            if let Some(failure) = download.failure {
                listing.leave_out(&download.key, failure);
            }
        }
    }
    Ok(())
}
