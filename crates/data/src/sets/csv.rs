//! Tables in text: fields parted by commas, in quotes where they hold commas, quotes or line breaks, under a line of names.

use csv_core::{ReadRecordResult, Reader};

/// The records of `text`, each with the line that it begins in, until `each` says otherwise.
///
/// # Errors
/// That of `each`.
pub(super) fn records<Error>(
    text: &str,
    mut each: impl FnMut(u64, Vec<&str>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = Reader::new();
    let mut rest = text.as_bytes();
    let (mut fields, mut ends) = (vec![0; 1024], vec![0; 16]);
    let (mut filled, mut parted) = (0, 0);
    let mut line = reader.line();
    loop {
        let (result, read, written, ended) =
            reader.read_record(rest, &mut fields[filled..], &mut ends[parted..]);
        rest = &rest[read..];
        filled += written;
        parted += ended;
        match result {
            // With nothing left to read, it says next time that this was all.
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputFull => fields.resize(2 * fields.len(), 0),
            ReadRecordResult::OutputEndsFull => ends.resize(2 * ends.len(), 0),
            ReadRecordResult::Record => {
                let mut start = 0;
                let parts = ends[..parted].iter().map(|end| {
                    let part = &fields[std::mem::replace(&mut start, *end)..*end];
                    std::str::from_utf8(part).expect("parts of a text at characters of one byte")
                });
                each(line, parts.collect())?;
                (filled, parted) = (0, 0);
                line = reader.line();
            }
            ReadRecordResult::End => return Ok(()),
        }
    }
}
