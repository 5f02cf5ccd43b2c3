//! Parquet as Hugging Face's `datasets` and img2dataset write it: pictures as bytes in a column, or in a struct of bytes and
//! path, with a text or a list of texts.

mod columns;
mod downloads;
mod row;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub(super) use self::columns::{Cell, Columns, Leaf};
use self::downloads::downloads;
pub use self::downloads::{Download, Downloads};
use self::row::Row;
use super::annotated::{LeftOut, Listing};
use super::images::Images;
use super::{DataSpec, Dataset, OpenOptions, Report, Sample, SampleError, SetError, paths};

/// Columns that hold pictures, by the names that people give them.
const PICTURES: [&str; 5] = ["image", "jpg", "png", "webp", "img"];
/// Columns that hold texts.
pub(super) const TEXTS: [&str; 4] = ["caption", "captions", "text", "texts"];
/// Columns that name a row.
const KEYS: [&str; 3] = ["key", "__key__", "question_id"];
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
    question: Option<Leaf>,
    /// A text, or a list of texts or of structs with a field `answer`.
    answers: Option<Leaf>,
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
        let question = columns.find("question");
        if text.is_none() && (spec.text.is_some() || question.is_none() && !options.textless) {
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
            question,
            answers: columns
                .find("answers")
                .or_else(|| columns.find_field("answers", "answer"))
                .or_else(|| columns.find("answer")),
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
            question: row.question(&key)?,
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
