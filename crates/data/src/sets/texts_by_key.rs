//! Texts by key, as many as there are pictures on the web: read once out of their files, kept in one of ours, mapped from then on.
//!
//! ```text
//! BLIP2TXT | version | entries | bytes of the whole | hash of the entries | entries | entries: hash of key, place in the file
//! ```
//! Numbers are little-endian and of 64 bits, the hash is a SHA-256. Entries stand as they were read, their places in the order of keys'
//! hashes: 16 bytes each, which are all that is held in memory while the file is made.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::SetError;
use super::cache::Cache;

const MAGIC: &[u8; 8] = b"BLIP2TXT";
const VERSION: u64 = 1;
const HEAD: usize = 64;
const PLACE: usize = 16;

/// Some texts of a key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Which sample it is, where the file says so.
    pub(super) index: Option<u64>,
    pub(super) texts: Vec<String>,
}

/// All of them.
pub(super) struct TextsByKey {
    map: Mmap,
    entries: usize,
}

impl TextsByKey {
    /// What `read` finds in `files`, kept in `cache`; without one, in a file that is gone with the process.
    ///
    /// # Errors
    /// Those of `read`; a key of two samples; no room.
    pub(super) fn open(
        files: &[PathBuf],
        cache: Option<&Cache>,
        read: impl Fn(&Path, &mut dyn FnMut(Entry) -> Result<(), SetError>) -> Result<(), SetError>,
    ) -> Result<Self, SetError> {
        let make = |file: &mut File| {
            let mut draft = Draft::new(file);
            for path in files {
                read(path, &mut |entry| draft.push(&entry).map_err(kept(path)))?;
            }
            let made = draft.finish().map_err(kept(Path::new("the texts")))?;
            match made.ambiguous() {
                None => Ok(made),
                Some(problem) => Err(SetError::malformed(&files[0], problem)),
            }
        };
        let Some(cache) = cache else {
            let mut file = tempfile::tempfile().map_err(kept(&std::env::temp_dir()))?;
            return make(&mut file);
        };
        let path = cache.path(&stamped(files)?, ".texts");
        if let Some(found) = Self::found(&path) {
            return Ok(found);
        }
        // Of several processes on a machine one reads. Where files cannot be locked each does, and makes the same.
        let _lock = cache.lock(&path);
        if let Some(found) = Self::found(&path) {
            return Ok(found);
        }
        let mut made = None;
        let put = cache.put(&path, |file| {
            made = Some(make(file).map_err(io::Error::other)?);
            Ok(())
        });
        match (put, made) {
            (Ok(_), Some(made)) => Ok(made),
            (Ok(_), None) => unreachable!("a file was put without being written"),
            (Err(error), _) => Err(match error.downcast::<SetError>() {
                Ok(own) => own,
                Err(source) => kept(&path)(source),
            }),
        }
    }

    /// Those at `path`, where they are there and whole.
    fn found(path: &Path) -> Option<Self> {
        Self::mapped(&File::open(path).ok()?).ok().flatten()
    }

    fn mapped(file: &File) -> io::Result<Option<Self>> {
        // SAFETY: the file appears whole, by renaming, and is not written to any more; another program that shortens one while it is
        // mapped would stop this one, as it would with any mapped file.
        let map = unsafe { Mmap::map(file) }?;
        if map.len() < HEAD
            || !map.starts_with(MAGIC)
            || [8, 24].map(|at| number(&map, at)) != [VERSION, map.len() as u64]
        {
            return Ok(None);
        }
        let entries = number(&map, 16) as usize;
        let is_whole = entries
            .checked_mul(PLACE)
            .is_some_and(|places| places <= map.len() - HEAD);
        Ok(is_whole.then_some(Self { map, entries }))
    }

    /// The texts of `key` in the order of the files, where it has any.
    pub(super) fn get(&self, key: &str) -> Vec<String> {
        let entries = self.of_hash(hash(key)).filter(|entry| entry.key == key);
        entries.flat_map(|entry| entry.texts).collect()
    }

    /// Changes when any text does.
    pub(super) fn fingerprint(&self) -> String {
        self.map[32..48]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Why a key stands for two samples.
    fn ambiguous(&self) -> Option<String> {
        let hashes = (0..self.entries).map(|at| self.place(at)[0]);
        let mut repeated: Vec<u64> = hashes
            .clone()
            .zip(hashes.skip(1))
            .filter(|(one, next)| one == next)
            .map(|(one, _)| one)
            .collect();
        repeated.dedup();
        for hash in repeated {
            let same: Vec<Entry> = self.of_hash(hash).collect();
            for (number, entry) in same.iter().enumerate() {
                let other = same[..number].iter().find(|other| other.key == entry.key);
                if let Some(Entry {
                    key,
                    index: Some(first),
                    ..
                }) = other
                    && let Some(second) = entry.index.filter(|index| index != first)
                {
                    return Some(format!(
                        "the key {key} is that of two pictures, number {first} and number {second}: a caption would stand for the wrong \
                         one; give pictures names of their own in the data set, and filter it again"
                    ));
                }
            }
        }
        None
    }

    /// The entries whose keys have this hash; none in the place of one whose bytes something has damaged since they were written.
    fn of_hash(&self, hash: u64) -> impl Iterator<Item = Entry> + '_ {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.place(middle)[0] < hash {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let places = (low..self.entries).map(|at| self.place(at));
        let own = places.take_while(move |[own, _]| *own == hash);
        own.filter_map(|[_, start]| {
            let bytes = self.map.get(usize::try_from(start).ok()?..)?;
            Some(postcard::take_from_bytes(bytes).ok()?.0)
        })
    }

    /// Hash and place of an entry, in the order of hashes.
    fn place(&self, at: usize) -> [u64; 2] {
        let place = self.map.len() - (self.entries - at) * PLACE;
        [number(&self.map, place), number(&self.map, place + 8)]
    }
}

/// The file while it is written.
struct Draft<'file> {
    file: BufWriter<&'file mut File>,
    places: Vec<[u64; 2]>,
    written: u64,
    digest: Sha256,
}

impl<'file> Draft<'file> {
    fn new(file: &'file mut File) -> Self {
        Self {
            file: BufWriter::new(file),
            places: Vec::new(),
            written: 0,
            digest: Sha256::new(),
        }
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if self.written == 0 {
            self.file.write_all(&[0; HEAD])?;
            self.written = HEAD as u64;
        }
        let bytes = postcard::to_extend(entry, Vec::new())
            .expect("an entry has nothing that cannot be written to memory");
        self.places.push([hash(&entry.key), self.written]);
        self.digest.update(&bytes);
        self.file.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> io::Result<TextsByKey> {
        self.written = self.written.max(HEAD as u64);
        self.places.sort_unstable();
        self.file.seek(SeekFrom::Start(self.written))?;
        for number in self.places.as_flattened() {
            self.file.write_all(&number.to_le_bytes())?;
        }
        let entries = self.places.len() as u64;
        let whole = self.written + entries * PLACE as u64;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(MAGIC)?;
        for number in [VERSION, entries, whole] {
            self.file.write_all(&number.to_le_bytes())?;
        }
        self.file.write_all(&self.digest.finalize())?;
        self.file.flush()?;
        let file = self.file.get_ref();
        TextsByKey::mapped(file)?.ok_or_else(|| io::Error::other("what was just written is not whole"))
    }
}

/// What names the files in the cache, and changes when one of them does.
fn stamped(files: &[PathBuf]) -> Result<String, SetError> {
    let stamps = files.iter().map(|path| {
        let stamp = || -> io::Result<String> {
            let (path, metadata) = (std::path::absolute(path)?, fs::metadata(path)?);
            Ok(format!(
                "{} {} {:?}",
                path.display(),
                metadata.len(),
                metadata.modified()?
            ))
        };
        stamp().map_err(SetError::reading(path))
    });
    Ok(format!("texts {:?}", stamps.collect::<Result<Vec<_>, _>>()?))
}

/// The failure of keeping what was read in `path`.
fn kept(path: &Path) -> impl FnOnce(io::Error) -> SetError + '_ {
    |source| SetError::Keep {
        path: path.to_owned(),
        source,
    }
}

fn hash(key: &str) -> u64 {
    number(&Sha256::digest(key), 0)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..].first_chunk();
    u64::from_le_bytes(*bytes.expect("the length was checked when the file was opened"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: u64 = 10_000;

    /// Two entries a key, the second far behind the first.
    fn entries(each: &mut dyn FnMut(Entry) -> Result<(), SetError>) -> Result<(), SetError> {
        (0..ENTRIES).try_for_each(|number| {
            each(Entry {
                key: format!("key {}", number % (ENTRIES / 2)),
                index: None,
                texts: vec![format!("text {number}")],
            })
        })
    }

    #[test]
    fn texts_are_found_in_the_file_that_was_made_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("captions.jsonl");
        fs::write(&source, "1").unwrap();
        let cache = Cache::new(folder.path().join("cache"), 0);
        let files = [source.clone()];
        let nothing =
            |_: &Path, _: &mut dyn FnMut(Entry) -> Result<(), SetError>| unreachable!("it was made before");
        let made = TextsByKey::open(&files, Some(&cache), |_, each| entries(each)).unwrap();
        let found = TextsByKey::open(&files, Some(&cache), nothing).unwrap();
        let passing = TextsByKey::open(&files, None, |_, each| entries(each)).unwrap();
        for texts in [&made, &found, &passing] {
            for number in [0, 17, ENTRIES / 2 - 1] {
                let both = [number, number + ENTRIES / 2].map(|number| format!("text {number}"));
                assert_eq!(texts.get(&format!("key {number}")), both);
            }
            assert!(texts.get("key 5000").is_empty() && texts.get("").is_empty());
            assert_eq!(texts.fingerprint(), made.fingerprint());
        }

        // Cut short, it is made anew; so it is where its source has changed.
        let kept = cache.path(&stamped(&files).unwrap(), ".texts");
        let whole = fs::read(&kept).unwrap();
        fs::write(&kept, &whole[..whole.len() - 1]).unwrap();
        TextsByKey::open(&files, Some(&cache), |_, each| entries(each)).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), whole);
        let mut damaged = whole;
        damaged[HEAD..].fill(0xff);
        fs::write(&kept, damaged).unwrap();
        let lost = TextsByKey::open(&files, Some(&cache), nothing).unwrap();
        assert!(lost.get("key 0").is_empty() && lost.of_hash(u64::MAX).next().is_none());
        fs::write(&source, "12").unwrap();
        let none = TextsByKey::open(&files, Some(&cache), |_, _| Ok(())).unwrap();
        assert!(none.get("key 0").is_empty());
        assert_ne!(none.fingerprint(), made.fingerprint());
    }
}
