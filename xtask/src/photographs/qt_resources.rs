//! Qt's resource archives (`.rcc`, of `rcc` in the form 3), as far as they hold files that are not compressed, as pictures are not.
//!
//! Big-endian throughout. A header (`qres`, form, and where tree, data and names begin), then a tree of records of 22 bytes: a name,
//! flags, and either the number of its children and the first of them, or where its data lie.

use anyhow::{Context, Result, bail};

const MAGIC: &[u8] = b"qres";
const FORM: u32 = 3;
const RECORD: usize = 22;
const COMPRESSED: [u16; 2] = [1, 4];
const FOLDER: u16 = 2;
/// Deeper than any package lays its files: a tree that refers to itself is none.
const DEEPEST: usize = 32;

/// The files in `archive` that are not compressed, with their paths.
///
/// # Errors
/// It is no such archive, or an incomplete one.
pub(super) fn files(archive: &[u8]) -> Result<Vec<(String, &[u8])>> {
    if archive.get(..4) != Some(MAGIC) || number(archive, 4)? != FORM {
        bail!("it does not begin as Qt's resources of form {FORM} do");
    }
    let [tree, data, names] = [8, 12, 16].map(|place| number(archive, place));
    let archive = Archive {
        bytes: archive,
        tree: tree? as usize,
        data: data? as usize,
        names: names? as usize,
    };
    let mut files = Vec::new();
    archive.walk(0, "", 0, &mut files)?;
    Ok(files)
}

struct Archive<'a> {
    bytes: &'a [u8],
    tree: usize,
    data: usize,
    names: usize,
}

impl<'a> Archive<'a> {
    fn walk(
        &self,
        record: usize,
        path: &str,
        depth: usize,
        files: &mut Vec<(String, &'a [u8])>,
    ) -> Result<()> {
        if depth > DEEPEST {
            bail!("its folders lie in each other without end");
        }
        let place = self.tree + record * RECORD;
        let flags = short(self.bytes, place + 4)?;
        let name = match depth {
            0 => String::new(),
            _ => self.name(number(self.bytes, place)? as usize)?,
        };
        let path = match path {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        if flags & FOLDER != 0 {
            let (count, first) = (number(self.bytes, place + 6)?, number(self.bytes, place + 10)?);
            let children = first as usize..(first + count) as usize;
            return children
                .into_iter()
                .try_for_each(|child| self.walk(child, &path, depth + 1, files));
        }
        if COMPRESSED.iter().all(|compressed| flags & compressed == 0) {
            let place = self.data + number(self.bytes, place + 10)? as usize;
            let length = number(self.bytes, place)? as usize;
            let content = self.bytes.get(place + 4..place + 4 + length);
            files.push((path, content.context("it ends before its last file does")?));
        }
        Ok(())
    }

    /// A length, a hash, and as many units of UTF-16.
    fn name(&self, offset: usize) -> Result<String> {
        let place = self.names + offset;
        let length = short(self.bytes, place)? as usize;
        let units = (0..length).map(|index| short(self.bytes, place + 6 + 2 * index));
        let units = units.collect::<Result<Vec<u16>>>()?;
        String::from_utf16(&units).context("a name in it is no text")
    }
}

fn number(bytes: &[u8], place: usize) -> Result<u32> {
    let number = bytes.get(place..).and_then(<[u8]>::first_chunk);
    Ok(u32::from_be_bytes(*number.context("it is incomplete")?))
}

fn short(bytes: &[u8], place: usize) -> Result<u16> {
    let short = bytes.get(place..).and_then(<[u8]>::first_chunk);
    Ok(u16::from_be_bytes(*short.context("it is incomplete")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with `a/b.webp` and, beside it, a compressed `c`.
    fn archive() -> Vec<u8> {
        let (mut tree, mut names) = (Vec::new(), Vec::new());
        let mut name = |text: &str| {
            let offset = names.len() as u32;
            names.extend((text.len() as u16).to_be_bytes());
            names.extend([0; 4]);
            names.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            offset
        };
        let mut record = |name: u32, flags: u16, two: [u32; 2]| {
            tree.extend(name.to_be_bytes());
            tree.extend(flags.to_be_bytes());
            tree.extend(two.into_iter().flat_map(u32::to_be_bytes));
            tree.extend([0; 8]);
        };
        record(0, FOLDER, [1, 1]);
        record(name("a"), FOLDER, [2, 2]);
        record(name("b.webp"), 0, [0, 0]);
        record(name("c"), 1, [0, 8]);
        let data = [&4u32.to_be_bytes()[..], b"RIFF", &1u32.to_be_bytes(), b"x"].concat();
        let begins = 24;
        let places = [begins, begins + tree.len(), begins + tree.len() + data.len()];
        let mut archive = [MAGIC, &FORM.to_be_bytes()].concat();
        archive.extend(places.into_iter().flat_map(|place| (place as u32).to_be_bytes()));
        archive.extend([0; 4]);
        [archive, tree, data, names].concat()
    }

    #[test]
    fn files_are_found_by_their_paths() {
        let archive = archive();
        assert_eq!(
            files(&archive).expect("an archive"),
            [("a/b.webp".to_owned(), &b"RIFF"[..])]
        );
    }

    #[test]
    fn what_is_no_whole_archive_is_refused() {
        let whole = archive();
        assert!(files(b"PK").is_err());
        // The name of what is compressed stands last, and is read as well.
        for length in 0..whole.len() {
            assert!(files(&whole[..length]).is_err(), "{length} bytes");
        }
        // A folder that holds itself.
        let mut endless = whole;
        endless[24 + 10 + 3] = 0;
        assert!(files(&endless).unwrap_err().to_string().contains("without end"));
    }
}
