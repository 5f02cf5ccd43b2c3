//! Compressed archives: gzip does not let anybody read from the middle, so a shard is unpacked once, into the cache.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Result, Write};

use flate2::bufread::GzDecoder;

use super::tar::ReadAt;

/// With what compressed data begin.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What is wrong with compressed data. What could be unpacked before is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// They end too early.
    CutShort,
    /// Their checksum, or the data themselves, are wrong.
    Invalid(String),
    /// They become more than the cache may hold.
    TooLarge,
    /// Something else follows them.
    BytesBehind,
}

/// Whether a file is compressed, told by its first bytes.
pub(super) fn is_packed(file: &File) -> Result<bool> {
    let mut start = MAGIC;
    Ok(ReadAt::len(file)? >= 2 && file.read_at(&mut start, 0).map(|()| start == MAGIC)?)
}

/// Unpacks all of `file` into `target`, at most `most` bytes.
///
/// # Errors
/// If a file cannot be read or written; what is wrong with the compressed data is told otherwise.
pub(super) fn unpack(file: &File, target: &mut File, most: u64) -> Result<Option<Trouble>> {
    let mut source = BufReader::with_capacity(1 << 16, file);
    let mut target = BufWriter::with_capacity(1 << 16, target);
    let mut piece = vec![0; 1 << 16];
    let mut left = most;
    loop {
        let mut packed = GzDecoder::new(&mut source);
        loop {
            let count = match packed.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    target.flush()?;
                    return trouble(error).map(Some);
                }
            };
            if count as u64 > left {
                return Ok(Some(Trouble::TooLarge));
            }
            left -= count as u64;
            target.write_all(&piece[..count])?;
        }
        // gzip lets files be joined, and filled up with zeros.
        let next = source.fill_buf()?;
        if next.starts_with(&MAGIC) {
            continue;
        }
        let is_end = next.is_empty() || next[0] == 0;
        target.flush()?;
        return Ok((!is_end).then_some(Trouble::BytesBehind));
    }
}

/// What an error of the decoder says about the data, unless it is one of the disk.
fn trouble(error: std::io::Error) -> Result<Trouble> {
    match error.kind() {
        ErrorKind::UnexpectedEof => Ok(Trouble::CutShort),
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::Other => {
            Ok(Trouble::Invalid(error.to_string()))
        }
        _ => Err(error),
    }
}
