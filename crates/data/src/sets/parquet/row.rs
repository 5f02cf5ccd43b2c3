//! What one row of a file says.

use parquet::errors::ParquetError;

use super::super::{Picture, Question, SampleError, lavis, paths, reason};
use super::{Cell, File, Group, Leaf, Table};

/// One row of a file.
pub(super) struct Row<'table> {
    pub(super) table: &'table Table,
    pub(super) file: &'table File,
    pub(super) group: &'table Group,
    pub(super) row: usize,
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
    pub(super) fn key(&self) -> Result<String, SampleError> {
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

    pub(super) fn text(&self, key: &str, leaf: Leaf) -> Result<Option<String>, SampleError> {
        Ok(self.strings(key, leaf)?.into_iter().next())
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, SampleError> {
        let Some(leaf) = self.file.text else {
            return Ok(Vec::new());
        };
        let texts = self.strings(key, leaf)?;
        let is_lacking = texts.is_empty() && self.file.question.is_none() && !self.table.textless;
        match (is_lacking, leaf.is_list) {
            (true, true) => Err(self.error(key, reason::NO_CAPTIONS, "its list of texts is empty")),
            (true, false) => Err(self.error(key, reason::TEXT_NULL, "its text is null")),
            (false, _) => Ok(texts),
        }
    }

    pub(super) fn question(&self, key: &str) -> Result<Option<Question>, SampleError> {
        let Some(leaf) = self.file.question else {
            return Ok(None);
        };
        let text = self.text(key, leaf)?;
        let text = text.ok_or_else(|| self.error(key, reason::TEXT_NULL, "its question is null"))?;
        let answers = match self.file.answers {
            Some(leaf) => self.strings(key, leaf)?,
            None => Vec::new(),
        };
        Ok(Some(Question {
            id: key.to_owned(),
            text,
            answers: lavis::tally(answers),
        }))
    }

    /// The bytes that were stored; where there are none, the file of that name in the folders that the user names.
    pub(super) fn picture(&self, key: &str) -> Result<Picture, SampleError> {
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
