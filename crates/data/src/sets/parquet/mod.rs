//! Parquet as Hugging Face's `datasets` and img2dataset write it: pictures as bytes in a column, or in a struct of bytes and
//! path, with a text or a list of texts.

mod columns;
mod downloads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};

pub(super) use self::columns::{Cell, Columns, Leaf};
use self::downloads::downloads;
pub use self::downloads::{Download, Downloads};
use super::annotated::{LeftOut, Listing};
use super::images::Images;
use super::{DataSpec, Dataset, OpenOptions, Picture, Report, Sample, SampleError, SetError, paths, reason};

/// Columns that hold pictures, by the names that people give them.
const PICTURES: [&str; 5] = ["image", "jpg", "png", "webp", "img"];
/// Columns that hold texts.
pub(super) const TEXTS: [&str; 4] = ["caption", "captions", "text", "texts"];
/// Columns that name a row.
const KEYS: [&str; 2] = ["key", "__key__"];
/// What parts of a set are called; the first is that of files which tell none.
const PARTS: [&str; 5] = ["train", "validation", "val", "dev", "test"];

/// Rows of one or several files.
struct Table {
    name: String,
    files: Vec<File>,
    groups: Vec<Group>,
    images: Option<Images>,
    textless: bool,
    left_out: LeftOut,
}

/// A file, and where in it is what.
struct File {
    columns: Columns,
    picture: Leaf,
    /// The name under which a picture was stored.
    path: Option<Leaf>,
    text: Option<Leaf>,
    key: Option<Leaf>,
    image_id: Option<Leaf>,
}

/// A row group.
struct Group {
    /// Its file, by its place in [`Table::files`].
    file: usize,
    /// Its place in the file.
    place: usize,
    /// The row of the file with which it begins.
    first_row: u64,
    /// The rows that are samples, where not all are.
    rows: Option<Vec<u32>>,
    /// How many samples it and those before it have.
    end: u64,
}

/// Opens the files that `spec` names.
pub(super) fn open(spec: &DataSpec, options: &OpenOptions) -> Result<Box<dyn Dataset>, SetError> {
    let (mut files, mut groups) = (Vec::new(), Vec::new());
    let mut listing = Listing::new(options.textless);
    let mut end = 0;
    for path in of_split(spec, paths::files(spec, &[".parquet"])?)? {
        let file = File::open(spec, options, &path)?;
        listing.begin(&path);
        let mut first_row = 0;
        let downloads = downloads(&file.columns)?;
        for (place, count) in file.columns.groups.iter().enumerate() {
            let rows = downloads.as_ref().map(|downloads| {
                let own = &downloads.rows()[first_row as usize..(first_row + *count) as usize];
                let failed = own.iter().filter_map(|own| Some((&own.key, own.failure?)));
                failed.for_each(|(key, failure)| listing.leave_out(key, failure));
                let whole = own.iter().zip(0..).filter(|(own, _)| own.failure.is_none());
                whole.map(|(_, row)| row).collect::<Vec<u32>>()
            });
            end += rows.as_ref().map_or(*count, |rows| rows.len() as u64);
            groups.push(Group {
                file: files.len(),
                place,
                first_row,
                rows,
                end,
            });
            first_row += count;
        }
        files.push(file);
    }
    Ok(Box::new(Table {
        name: spec.name(),
        files,
        groups,
        images: (!spec.images.is_empty()).then(|| Images::of(spec, Path::new(""))),
        textless: options.textless,
        left_out: listing.into_parts().1,
    }))
}

/// The files of the parts that `spec` asks for. As `datasets` has it, `test-00000-of-00002.parquet`, `test.parquet` and whatever
/// lies in a folder `test` belong to the part `test`, and what tells no part to `train`.
fn of_split(spec: &DataSpec, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, SetError> {
    let part = |file: &Path| -> String {
        let (stem, folder) = (paths::stem(file), paths::stem(paths::folder_of(file)));
        match stem.split_once('-') {
            Some((part, rest)) if rest.contains("-of-") => part.to_owned(),
            _ if PARTS.contains(&stem.as_str()) => stem,
            _ if PARTS.contains(&folder.as_str()) => folder,
            _ => PARTS[0].to_owned(),
        }
    };
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for file in &files {
        *counts.entry(part(file)).or_default() += 1;
    }
    let chosen = spec.choose_splits(&counts)?;
    Ok(files
        .into_iter()
        .filter(|file| chosen.contains(&part(file)))
        .collect())
}

impl File {
    fn open(spec: &DataSpec, options: &OpenOptions, path: &Path) -> Result<Self, SetError> {
        let columns = Columns::open(path)?;
        let lacks = |what: &str, wanted: &str, option: &str| {
            let problem = format!(
                "no column of {what} ({wanted}): name it by `{option}`; there are {}",
                columns.names().join(", ")
            );
            SetError::malformed(path, problem)
        };
        let named = |asked: &Option<String>, usual: &[&str]| -> (Option<Leaf>, String) {
            let wanted: Vec<&str> = asked.as_deref().map_or_else(|| usual.to_vec(), |name| vec![name]);
            let leaf = wanted.iter().find_map(|name| columns.find(name));
            (leaf, wanted.join(", "))
        };
        let pictures: Vec<&str> = match &spec.image {
            Some(name) => vec![name],
            None => PICTURES.to_vec(),
        };
        let found = pictures.iter().find_map(|name| {
            let of_struct = columns.find(&format!("{name}.bytes"));
            let leaf = of_struct
                .or_else(|| columns.find(name))
                .filter(|leaf| !leaf.is_list)?;
            Some((leaf, columns.find(&format!("{name}.path"))))
        });
        let (picture, stored) = found.ok_or_else(|| lacks("pictures", &pictures.join(", "), "image"))?;
        let (text, wanted) = named(&spec.text, &TEXTS);
        if text.is_none() && (spec.text.is_some() || !options.textless) {
            return Err(lacks("texts", &wanted, "text"));
        }
        let (key, wanted) = named(&spec.key, &KEYS);
        if key.is_none() && spec.key.is_some() {
            return Err(lacks("keys", &wanted, "key"));
        }
        Ok(Self {
            picture,
            path: stored,
            text,
            key,
            image_id: columns.find("image_id"),
            columns,
        })
    }
}

impl Table {
    /// The group of a sample, and the sample's row in it.
    fn place(&self, index: u64) -> Option<(&Group, usize)> {
        let group = self.groups.partition_point(|group| group.end <= index);
        let start = group.checked_sub(1).map_or(0, |before| self.groups[before].end);
        let (group, row) = (self.groups.get(group)?, (index - start) as usize);
        let row = group.rows.as_ref().map_or(row, |rows| rows[row] as usize);
        Some((group, row))
    }
}

impl Table {
    fn row(&self, index: u64) -> Result<Row<'_>, SampleError> {
        let place = self.place(index);
        let (group, row) = place.ok_or_else(|| SampleError::beyond(index, self.len()))?;
        Ok(Row {
            table: self,
            file: &self.files[group.file],
            group,
            row,
        })
    }
}

impl Dataset for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.groups.last().map_or(0, |group| group.end)
    }

    fn runs(&self) -> Vec<u64> {
        let mut start = 0;
        let sizes = self
            .groups
            .iter()
            .map(|group| group.end - std::mem::replace(&mut start, group.end));
        sizes.collect()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        let row = self.row(index)?;
        let key = row.key()?;
        Ok(Sample {
            picture: row.picture(&key)?,
            texts: row.texts(&key)?,
            question: None,
            image_id: match row.file.image_id {
                Some(leaf) => row.text(&key, leaf)?,
                None => None,
            },
            key,
        })
    }

    fn key(&self, index: u64) -> Result<String, SampleError> {
        self.row(index)?.key()
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for group in &self.groups {
            let file = &self.files[group.file].columns;
            hash.update(file.path.to_string_lossy().as_bytes());
            hash.update(file.length.to_le_bytes());
            hash.update(group.end.to_le_bytes());
        }
        let hash = hash.finalize();
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn reports(&self) -> Vec<Report> {
        self.left_out.reports()
    }
}

/// One row of a file.
struct Row<'table> {
    table: &'table Table,
    file: &'table File,
    group: &'table Group,
    row: usize,
}

impl Row<'_> {
    fn error(&self, key: &str, reason: &'static str, problem: impl std::fmt::Display) -> SampleError {
        let (file, group, row) = (self.file.columns.path.display(), self.group.place, self.row);
        SampleError {
            key: key.to_owned(),
            reason,
            problem: format!("{file}, row group {group}, row {row}: {problem}"),
        }
    }

    fn cell(&self, key: &str, leaf: Leaf) -> Result<Cell, SampleError> {
        let cells = self.file.columns.read(self.group.place, leaf, self.row, 1);
        let cell = cells.map(|mut cells| cells.pop().unwrap_or_default());
        cell.map_err(|error: ParquetError| self.error(key, reason::ROW_DAMAGED, error))
    }

    /// What its column says; else its file and its row in that.
    fn key(&self) -> Result<String, SampleError> {
        let row = self.group.first_row + self.row as u64;
        let own = format!("{}:{row}", paths::stem(&self.file.columns.path));
        match self.file.key {
            Some(leaf) => Ok(self.text(&own, leaf)?.unwrap_or(own)),
            None => Ok(own),
        }
    }

    /// All texts at `leaf`.
    fn strings(&self, key: &str, leaf: Leaf) -> Result<Vec<String>, SampleError> {
        let cell = self.cell(key, leaf)?;
        let texts = cell
            .iter()
            .map(|bytes| std::str::from_utf8(bytes).map(str::to_owned));
        texts
            .collect::<Result<_, _>>()
            .map_err(|error| self.error(key, reason::TEXT_NOT_UTF8, error))
    }

    fn text(&self, key: &str, leaf: Leaf) -> Result<Option<String>, SampleError> {
        Ok(self.strings(key, leaf)?.into_iter().next())
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, SampleError> {
        let Some(leaf) = self.file.text else {
            return Ok(Vec::new());
        };
        let texts = self.strings(key, leaf)?;
        match (texts.is_empty() && !self.table.textless, leaf.is_list) {
            (true, true) => Err(self.error(key, reason::NO_CAPTIONS, "its list of texts is empty")),
            (true, false) => Err(self.error(key, reason::TEXT_NULL, "its text is null")),
            (false, _) => Ok(texts),
        }
    }

    /// The bytes that were stored; where there are none, the file of that name in the folders that the user names.
    fn picture(&self, key: &str) -> Result<Picture, SampleError> {
        if let Some(bytes) = self.cell(key, self.file.picture)?.pop() {
            return match bytes.is_empty() {
                true => Err(self.error(key, reason::PICTURE_EMPTY, "its picture has no bytes")),
                false => Ok(Picture::Encoded(bytes)),
            };
        }
        let path = match self.file.path {
            Some(leaf) => self.text(key, leaf)?,
            None => None,
        };
        match (path, &self.table.images) {
            (Some(path), Some(images)) => images.read(key, &path),
            (Some(path), None) => {
                let problem =
                    format!("it has the name `{path}` and no bytes: `images` says where such files lie");
                Err(self.error(key, reason::PICTURE_BYTES_MISSING, problem))
            }
            (None, _) => Err(self.error(key, reason::PICTURE_NULL, "its picture is null")),
        }
    }
}
