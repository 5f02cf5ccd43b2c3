//! Single rows of the columns of a Parquet file: what lies before a row is skipped by pages, not decoded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::SchemaDescriptor;

use super::super::{SetError, json};

/// A Parquet file, mapped.
pub(crate) struct Columns {
    pub(crate) path: PathBuf,
    reader: SerializedFileReader<Bytes>,
    /// Bytes.
    pub(crate) length: usize,
    /// Rows of each row group.
    pub(crate) groups: Vec<u64>,
}

/// Where values lie in each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    column: usize,
    /// Whether a row has a list of them.
    pub(crate) is_list: bool,
}

/// What a row holds: nothing where it is null, one value, or all entries of a list that are not null. Numbers are in decimal.
pub(crate) type Cell = Vec<Arc<[u8]>>;

impl Columns {
    /// # Errors
    /// Where the file cannot be read or its footer is none.
    pub(crate) fn open(path: &Path) -> Result<Self, SetError> {
        let bytes = match json::map(path)? {
            Some(map) => Bytes::from_owner(Mapped(map)),
            None => Bytes::new(),
        };
        let length = bytes.len();
        let no_parquet =
            |problem: String| SetError::malformed(path, format!("no whole Parquet file: {problem}"));
        let reader = held(|| SerializedFileReader::new(bytes));
        let reader = reader.map_err(|error| no_parquet(error.to_string()))?;
        let mut groups = Vec::new();
        for (index, group) in reader.metadata().row_groups().iter().enumerate() {
            for column in group.columns() {
                // The reader takes these on trust.
                let start = column
                    .dictionary_page_offset()
                    .unwrap_or(column.data_page_offset());
                let end = start.checked_add(column.compressed_size());
                if start < 0 || column.compressed_size() < 0 || end.is_none_or(|end| end > length as i64) {
                    let name = column.column_path();
                    return Err(no_parquet(format!(
                        "row group {index}, column {name} reaches beyond its end"
                    )));
                }
            }
            let rows = u64::try_from(group.num_rows());
            groups.push(rows.map_err(|_| no_parquet(format!("row group {index} has a negative size")))?);
        }
        Ok(Self {
            path: path.to_owned(),
            length,
            reader,
            groups,
        })
    }

    fn schema(&self) -> &SchemaDescriptor {
        self.reader.metadata().file_metadata().schema_descr()
    }

    /// Names of the columns, without those of what lies in them.
    pub(crate) fn names(&self) -> Vec<&str> {
        let fields = self.schema().root_schema().get_fields().iter();
        fields.map(|field| field.name()).collect()
    }

    /// The values that are called `name`: of a column, by a dot of a field of a struct, or the entries of a column of lists.
    pub(crate) fn find(&self, name: &str) -> Option<Leaf> {
        let columns = self.schema().columns();
        let own = |column: usize| columns[column].path().string();
        let is_entry = |column: usize| {
            let below = own(column)
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'));
            below && columns[column].max_rep_level() > 0
        };
        let all = 0..columns.len();
        let exact = all.clone().find(|column| own(*column) == name);
        let column = exact.or_else(|| {
            let mut entries = all.filter(|column| is_entry(*column));
            entries.next().filter(|_| entries.next().is_none())
        })?;
        Some(Leaf {
            column,
            is_list: columns[column].max_rep_level() > 0,
        })
    }

    /// The values that are called `field` in a column `name` of lists of structs.
    pub(crate) fn find_field(&self, name: &str, field: &str) -> Option<Leaf> {
        let is_field = |path: &str| {
            let below = path.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
            below.is_some_and(|below| below.rsplit('.').next() == Some(field))
        };
        let columns = self.schema().columns();
        let column = columns
            .iter()
            .position(|own| own.max_rep_level() > 0 && is_field(&own.path().string()))?;
        Some(Leaf {
            column,
            is_list: true,
        })
    }

    /// What stands at `leaf` in `count` rows of `group`, from `row` on.
    ///
    /// # Errors
    /// Where a page is damaged or cut short, or there is neither text, bytes nor whole numbers.
    pub(crate) fn read(
        &self,
        group: usize,
        leaf: Leaf,
        row: usize,
        count: usize,
    ) -> Result<Vec<Cell>, ParquetError> {
        let group = self.reader.get_row_group(group)?;
        let full = self.schema().column(leaf.column).max_def_level();
        let rows = (row, count, full);
        let number = |number: i64| Arc::from(number.to_string().into_bytes());
        held(|| match group.get_column_reader(leaf.column)? {
            ColumnReader::ByteArrayColumnReader(reader) => cells(reader, rows, |value| value.data().into()),
            ColumnReader::Int32ColumnReader(reader) => cells(reader, rows, |value| number((*value).into())),
            ColumnReader::Int64ColumnReader(reader) => cells(reader, rows, |value| number(*value)),
            _ => Err(ParquetError::General(
                "a column of neither text, bytes nor whole numbers".into(),
            )),
        })
    }
}

/// What `read` gives, where the library comes back at all: it takes headers of pages on trust, and panics where one is damaged. Nothing
/// outlives a panic but the mapped file, which is never written.
fn held<Content>(read: impl FnOnce() -> Result<Content, ParquetError>) -> Result<Content, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(ParquetError::General(
            "a header is damaged: the library panicked".into(),
        ))
    })
}

/// The cells of `count` rows from `row` on; `full` is the level at which a value is there.
fn cells<Kind: DataType>(
    mut reader: ColumnReaderImpl<Kind>,
    (row, count, full): (usize, usize, i16),
    bytes: impl Fn(&Kind::T) -> Arc<[u8]>,
) -> Result<Vec<Cell>, ParquetError> {
    let (mut values, mut filled, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    let mut records = 0;
    if reader.skip_records(row)? == row {
        while records < count {
            let (found, ..) = reader.read_records(
                count - records,
                Some(&mut filled),
                Some(&mut repeated),
                &mut values,
            )?;
            if found == 0 {
                break;
            }
            records += found;
        }
    }
    let mut cells: Vec<Cell> = Vec::with_capacity(records);
    let mut values = values.iter();
    // Levels are not written where they could not be anything but full, or no list.
    for place in 0..filled.len().max(values.len()) {
        if repeated.get(place).is_none_or(|level| *level == 0) {
            cells.push(Vec::new());
        }
        if filled.get(place).is_none_or(|level| *level == full)
            && let (Some(cell), Some(value)) = (cells.last_mut(), values.next())
        {
            cell.push(bytes(value));
        }
    }
    if cells.len() == count {
        Ok(cells)
    } else {
        Err(ParquetError::EOF(format!(
            "a column ends before row {}",
            row + count
        )))
    }
}

/// Keeps a file mapped for as long as any of its bytes are held.
struct Mapped(Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
