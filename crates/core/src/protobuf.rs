//! Walking the fields of a protobuf message in place: nothing is copied, and nothing is believed before it is checked. ONNX
//! files and SentencePiece models are such messages.

use std::ops::Range;

/// The content of one field.
pub enum Value {
    /// A number of variable length.
    Integer(u64),
    /// A string, bytes, a message or a packed list: where it stands in the file.
    Bytes(Range<usize>),
    /// A number of four or eight bytes: where it stands in the file.
    Fixed(Range<usize>),
}

/// Iterates over `(field number, value)` of the message that stands in a range of the file. Ends after the first error.
pub struct Fields<'a> {
    file: &'a [u8],
    rest: Range<usize>,
}

impl<'a> Fields<'a> {
    /// The fields of the message in `range` of `file`, which [`Value::Bytes`] has handed out or is the whole of it.
    pub fn new(file: &'a [u8], range: Range<usize>) -> Self {
        Self { file, rest: range }
    }

    fn field(&mut self) -> Result<(u64, Value), String> {
        let start = self.rest.start;
        let tag = integer(self.file, &mut self.rest)?;
        let value = match tag & 7 {
            0 => Value::Integer(integer(self.file, &mut self.rest)?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = integer(self.file, &mut self.rest)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            kind => {
                return Err(format!(
                    "field of unknown kind {kind} at byte {start}: the file is damaged"
                ));
            }
        };
        Ok((tag >> 3, value))
    }

    fn take(&mut self, length: u64) -> Result<Range<usize>, String> {
        let start = self.rest.start;
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => {
                self.rest.start += length;
                Ok(start..self.rest.start)
            }
            _ => Err(format!(
                "{length} bytes are announced at byte {start}, but only {} follow: the file is truncated or damaged",
                self.rest.len()
            )),
        }
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<(u64, Value), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest.start = self.rest.end;
        }
        Some(field)
    }
}

/// Reads one number of variable length, seven bits a byte, from the front of `rest`.
pub(crate) fn integer(file: &[u8], rest: &mut Range<usize>) -> Result<u64, String> {
    let start = rest.start;
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some(index) = rest.next() else {
            return Err(format!(
                "the file ends within a number at byte {start}: it is truncated"
            ));
        };
        value |= u64::from(file[index] & 0x7f) << shift;
        if file[index] < 0x80 {
            return Ok(value);
        }
    }
    Err(format!("endless number at byte {start}: the file is damaged"))
}

/// The string that stands in `range` of `file`.
///
/// # Errors
/// Where it is no UTF-8.
pub fn text(file: &[u8], range: Range<usize>) -> Result<&str, String> {
    let start = range.start;
    str::from_utf8(&file[range])
        .map_err(|_| format!("name at byte {start} is not UTF-8: the file is damaged"))
}
