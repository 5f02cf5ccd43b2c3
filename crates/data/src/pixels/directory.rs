//! The first directory of a TIFF, which EXIF blocks are, too.

use std::ops::Range;

/// What the directory says of one thing.
pub(super) struct Entry {
    pub(super) tag: u64,
    /// The type of its values.
    pub(super) kind: u64,
    /// Of values.
    pub(super) count: u64,
    /// Where the values lie, or where it is said where they lie.
    pub(super) place: usize,
    /// The bytes there.
    room: usize,
}

/// The entries of the first directory; none of bytes that are no TIFF.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    // BigTIFF has longer offsets, counts and entries.
    let layout = match number(bytes, 2, 2) {
        // Some programs write the mark in the other order than what follows.
        Some(42 | 0x2a00) => Some((4, 4, 2, 12)),
        Some(43) => Some((8, 8, 8, 20)),
        _ => None,
    };
    let found = layout.and_then(|(offset, long, count, entry)| {
        let directory = number(bytes, offset, long)?.min(bytes.len() as u64) as usize;
        let entries = number(bytes, directory, count)?.min(1 << 16) as usize;
        Some((0..entries).filter_map(move |index| {
            let place = directory + count + index * entry;
            Some(Entry {
                tag: number(bytes, place, 2)?,
                kind: number(bytes, place + 2, 2)?,
                count: number(bytes, place + 4, long)?,
                place: place + 4 + long,
                room: long,
            })
        }))
    });
    found.into_iter().flatten()
}

impl Entry {
    /// The first of the values, as whole numbers of a camera are written; 0 where they are of another type. None where there is none.
    pub(super) fn first(&self, bytes: &[u8]) -> Option<u64> {
        let length: usize = match self.kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let place = self.values(bytes, length)?.start;
        match self.kind {
            3 | 4 | 6 | 8 | 9 => number(bytes, place, length),
            _ => Some(0),
        }
    }

    /// The values, where they are bytes. None where there are none.
    pub(super) fn bytes<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.kind {
            1 | 7 => bytes.get(self.values(bytes, 1)?),
            _ => None,
        }
    }

    /// The values, where they are fractions: what is above the line and what below. None where there are none.
    pub(super) fn fractions(&self, bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
        const FRACTION: u64 = 5;
        if self.kind != FRACTION {
            return None;
        }
        let places = self.values(bytes, 8)?.step_by(8);
        places
            .map(|place| Some((number(bytes, place, 4)?, number(bytes, place + 4, 4)?)))
            .collect()
    }

    /// Where the values lie, of `length` bytes each.
    fn values(&self, bytes: &[u8], length: usize) -> Option<Range<usize>> {
        let whole = usize::try_from(self.count).ok()?.checked_mul(length)?;
        let place = match whole {
            0 => return None,
            whole if whole <= self.room => self.place,
            _ => usize::try_from(number(bytes, self.place, self.room)?).ok()?,
        };
        let range = place..place.checked_add(whole)?;
        bytes.get(range.clone())?;
        Some(range)
    }
}

/// The number in `length` bytes, in the order that the first byte of all says.
fn number(bytes: &[u8], place: usize, length: usize) -> Option<u64> {
    let stored = bytes.get(place..place.checked_add(length)?)?;
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if bytes[0] == b'I' {
        stored.iter().rev().fold(0, add)
    } else {
        stored.iter().fold(0, add)
    })
}
