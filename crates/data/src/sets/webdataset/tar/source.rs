//! Bytes that are read anywhere, without a place of their own: many threads share one.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};

/// Bytes of a known length, readable at any place.
pub(crate) trait ReadAt {
    /// How many there are.
    fn len(&self) -> Result<u64>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where fewer bytes are there; else what the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
}

impl ReadAt for File {
    fn len(&self) -> Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }
}

/// A piece of a file that was read in one go, under the offsets that it has in the file.
pub(crate) struct Span {
    /// Where the piece begins.
    pub(crate) start: u64,
    /// What it holds.
    pub(crate) bytes: Vec<u8>,
}

impl Span {
    /// Reads the piece from `start` to `end`, which must be known to be there.
    pub(crate) fn read(source: &impl ReadAt, start: u64, end: u64) -> Result<Self> {
        let mut bytes = vec![0; (end - start) as usize];
        source.read_at(&mut bytes, start)?;
        Ok(Self { start, bytes })
    }
}

impl ReadAt for Span {
    fn len(&self) -> Result<u64> {
        Ok(self.start + self.bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let begin = offset.checked_sub(self.start).map(|begin| begin as usize);
        let piece = begin.and_then(|begin| self.bytes.get(begin..begin + buffer.len()));
        buffer.copy_from_slice(piece.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}
