//! One header block: what it says, if its checksum is right.

use tar::{EntryType, Header};

use super::BLOCK;

/// A block of an archive where a header may stand.
pub(super) struct Block(pub(super) [u8; BLOCK as usize]);

/// The bytes of the checksum and of the size within a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;
const SIZE: std::ops::Range<usize> = 124..136;

impl Block {
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The header, if its checksum is right: the sum of its bytes, as unsigned or, in old archives, signed numbers, with
    /// spaces in the place of the checksum.
    pub(super) fn header(&self) -> Option<&Header> {
        let header = Header::from_byte_slice(&self.0);
        let noted = i64::from(header.cksum().ok()?);
        let counted = || {
            self.0.iter().enumerate().map(
                |(place, byte)| {
                    if CHECKSUM.contains(&place) { b' ' } else { *byte }
                },
            )
        };
        let unsigned: i64 = counted().map(i64::from).sum();
        let signed: i64 = counted().map(|byte| i64::from(byte as i8)).sum();
        (noted == unsigned || noted == signed).then_some(header)
    }

    /// The size of the member, in octal digits or as a binary number; `None` where it is negative, larger than any file, or
    /// no number.
    pub(super) fn size(&self) -> Option<u64> {
        let field = &self.0[SIZE];
        let is_binary = field[0] & 0x80 != 0;
        if is_binary && (field[0] != 0x80 || field[1..4] != [0; 3] || field[4] & 0x80 != 0) {
            return None;
        }
        if !is_binary && field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            return Some(0);
        }
        Header::from_byte_slice(&self.0).entry_size().ok()
    }
}

/// What a header announces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A link, a device, a pipe, a file with holes, or what nobody knows.
    Other {
        /// Whether as many bytes follow as its size says: links and devices have none.
        has_data: bool,
    },
    /// Bytes that are the name of the next member (GNU).
    LongName,
    /// Records that correct the next header (PAX).
    Records,
    /// What readers of names need not know: a long link name, records for all that follow.
    Skip,
}

impl Kind {
    /// Whether it says something about the member that follows.
    pub(super) fn is_note(self) -> bool {
        matches!(self, Self::LongName | Self::Records | Self::Skip)
    }

    /// Whether as many bytes follow as the size says.
    pub(super) fn has_data(self) -> bool {
        !matches!(self, Self::Folder | Self::Other { has_data: false })
    }

    pub(super) fn of(kind: EntryType, name: &[u8]) -> Self {
        match kind {
            // In the oldest archives a folder is a file whose name ends so.
            EntryType::Regular if name.ends_with(b"/") => Self::Folder,
            EntryType::Regular | EntryType::Continuous => Self::File,
            EntryType::Directory => Self::Folder,
            EntryType::GNULongName => Self::LongName,
            EntryType::XHeader => Self::Records,
            EntryType::GNULongLink | EntryType::XGlobalHeader => Self::Skip,
            EntryType::Link | EntryType::Symlink | EntryType::Char | EntryType::Block | EntryType::Fifo => {
                Self::Other { has_data: false }
            }
            _ => Self::Other { has_data: true },
        }
    }
}
