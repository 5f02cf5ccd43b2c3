//! Boxes of the ISO base media file format (ISO/IEC 14496-12, 4.2): a length, a name, content.

use crate::pixels::decode::Refusal;

/// Four letters that name a box, an item or a track's reference.
pub(super) type Name = [u8; 4];

/// Reads from the front of bytes; numbers have their highest byte first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let short = || {
            Refusal::Damaged(
                "one of its boxes is longer than what holds it, or shorter than its content".into(),
            )
        };
        let (front, rest) = self.0.split_at_checked(count).ok_or_else(short)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn name(&mut self) -> Result<Name, Refusal> {
        Ok(self.u32()?.to_be_bytes())
    }

    /// A number of so many bytes; of none it is 0, of more than eight the last eight.
    pub(super) fn number(&mut self, bytes: usize) -> Result<u64, Refusal> {
        let bytes = self.take(bytes)?.iter();
        Ok(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Refusal> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Refusal> {
        Ok(self.number(4)? as u32)
    }

    /// An item's number, which newer versions of a box write in four bytes.
    pub(super) fn id(&mut self, is_wide: bool) -> Result<u32, Refusal> {
        Ok(self.number(if is_wide { 4 } else { 2 })? as u32)
    }

    /// Version and flags, with which many boxes begin.
    pub(super) fn version(&mut self) -> Result<(u8, u32), Refusal> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0xff_ffff))
    }

    /// Letters up to a zero.
    pub(super) fn text(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.0.iter().position(|byte| *byte == 0);
        let text = self.take(length.unwrap_or(self.0.len()))?;
        self.take(usize::from(length.is_some()))?;
        Ok(text)
    }

    /// The next box, if any bytes are left. A length of 0 means all that is left.
    pub(super) fn next_box(&mut self) -> Result<Option<(Name, Self)>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let whole = self.0.len() as u64;
        let (mut length, name) = (self.number(4)?, self.name()?);
        if length == 1 {
            length = self.number(8)?;
        }
        let header = whole - self.0.len() as u64;
        let content = match length {
            0 => self.0.len() as u64,
            _ => length.saturating_sub(header),
        };
        Ok(Some((
            name,
            Self(self.take(usize::try_from(content).unwrap_or(usize::MAX))?),
        )))
    }

    /// All boxes that lie here one behind the other.
    pub(super) fn boxes(mut self) -> Result<Vec<(Name, Self)>, Refusal> {
        let mut boxes = Vec::new();
        while let Some(next) = self.next_box()? {
            boxes.push(next);
        }
        Ok(boxes)
    }
}
