//! A folder for what is made once from a data set and used again: indexes, unpacked and fetched shards.

use std::fs::{self, File, FileTimes};
use std::io::{Error, Result, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

/// What the names of bounded files end with.
const BOUNDED: &str = ".shard";

/// A folder of files that can be made again at any time. Several processes may share it: files appear whole or not at all.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    most_bytes: u64,
}

impl Cache {
    /// In `folder`, which is made when something is put into it. Unpacked and fetched shards take at most `most_bytes`
    /// together: the one that was not used for the longest time makes room. Indexes are not counted, they take 16 bytes a
    /// sample, nor are captions by key.
    pub fn new(folder: impl Into<PathBuf>, most_bytes: u64) -> Self {
        Self {
            folder: folder.into(),
            most_bytes,
        }
    }

    /// The most bytes of one unpacked or fetched shard.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// Where the file lies, or would lie, that is made from `what`.
    pub(crate) fn path(&self, what: &str, ending: &str) -> PathBuf {
        let hash = Sha256::digest(what.as_bytes());
        let digits: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{digits}{ending}"))
    }

    /// Writes the file at `path` in this folder, which then exists whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written; those of `write`.
    pub(crate) fn put(&self, path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<File> {
        fs::create_dir_all(&self.folder)?;
        let mut draft = NamedTempFile::new_in(&self.folder)?;
        write(draft.as_file_mut())?;
        draft.as_file_mut().flush()?;
        draft.persist(path).map_err(Error::from)
    }

    /// Waits until no other process makes the file at `path`; nothing where files cannot be locked.
    pub(crate) fn lock(&self, path: &Path) -> Option<File> {
        fs::create_dir_all(&self.folder).ok()?;
        let lock = File::create(path.with_extension("lock")).ok()?;
        lock.lock().ok()?;
        Some(lock)
    }

    /// The unpacked or fetched shard that was made from `what`, if it is still there.
    pub(crate) fn shard(&self, what: &str) -> Option<File> {
        let file = File::open(self.path(what, BOUNDED)).ok()?;
        // When it was used last; where that cannot be noted, it is only forgotten sooner.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(file)
    }

    /// Keeps what `write` makes from `what`, in the place of what was used last the longest time ago.
    ///
    /// # Errors
    /// If it cannot be written; those of `write`.
    pub(crate) fn put_shard(&self, what: &str, write: impl FnOnce(&mut File) -> Result<()>) -> Result<File> {
        let path = self.path(what, BOUNDED);
        let file = self.put(&path, write)?;
        self.make_room(&path)?;
        Ok(file)
    }

    /// Removes what was not used for the longest time, but not `newest`. Who has a removed file open goes on reading it.
    fn make_room(&self, newest: &Path) -> Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(BOUNDED)
                && path != newest
                // Another process may have removed it.
                && let Ok(metadata) = path.metadata()
            {
                files.push((metadata.modified()?, metadata.len(), path));
            }
        }
        files.sort();
        let mut held = newest.metadata()?.len() + files.iter().map(|(_, size, _)| size).sum::<u64>();
        for (_, size, path) in files {
            if held <= self.most_bytes {
                break;
            }
            let _ = fs::remove_file(path);
            held -= size;
        }
        Ok(())
    }
}
