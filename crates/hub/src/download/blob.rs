//! One file on its way into the cache: locked, gone on with, verified, and only then under its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use ureq::http::StatusCode;

use super::remote::{Answer, Metadata, Remote, content_length, content_range};
use super::retries::Retries;
use super::{DownloadError, Event, Hub};

/// How often a lock is looked at, and how much is read at once.
const LOOK: Duration = Duration::from_millis(100);
const PIECE: usize = 1 << 18;

/// A file, and the places that it goes through.
pub(super) struct Blob<'a> {
    hub: &'a Hub,
    file: &'a str,
    metadata: Metadata,
    /// The whole file, and what there is of it before.
    whole: PathBuf,
    partial: PathBuf,
    lock: PathBuf,
}

impl<'a> Blob<'a> {
    /// The blob of `file` in the folder of a model. Its lock is the one that `huggingface_hub` takes.
    pub(super) fn new(hub: &'a Hub, folder: &Path, file: &'a str, metadata: Metadata) -> Self {
        let (blobs, etag) = (folder.join("blobs"), &metadata.etag);
        Self {
            hub,
            file,
            whole: blobs.join(etag),
            partial: blobs.join(format!("{etag}.incomplete")),
            lock: hub.locks(folder).join(format!("{etag}.lock")),
            metadata,
        }
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    pub(super) fn size(&self) -> u64 {
        self.metadata.size
    }

    /// Bytes that are still to come.
    fn missing(&self) -> u64 {
        let there = if self.is_whole() {
            self.size()
        } else {
            length(&self.partial)
        };
        self.size().saturating_sub(there)
    }

    fn is_whole(&self) -> bool {
        std::fs::metadata(&self.whole).is_ok_and(|found| found.len() == self.size())
    }

    /// Fetches what is missing, and gives the path of the whole file.
    pub(super) fn fetch(
        &self,
        remote: &Remote,
        commit: &str,
        watch: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, DownloadError> {
        for folder in [&self.whole, &self.lock]
            .into_iter()
            .filter_map(|path| path.parent())
        {
            std::fs::create_dir_all(folder).map_err(|error| self.io("create", folder, error))?;
        }
        let _lock = self.take_lock(watch)?;
        if !self.is_whole() {
            self.transfer(remote, commit, watch)?;
            self.verify(watch)?;
            std::fs::rename(&self.partial, &self.whole)
                .map_err(|error| self.io("rename", &self.partial, error))?;
        }
        Ok(self.whole.clone())
    }

    /// Waits for the lock, as long as what another process fetches under it grows.
    fn take_lock(&self, watch: &mut dyn FnMut(Event)) -> Result<File, DownloadError> {
        let lock = File::create(&self.lock).map_err(|error| self.io("create", &self.lock, error))?;
        let (mut seen, mut since, mut told) = (0, Instant::now(), false);
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(error)) => return Err(self.io("lock", &self.lock, error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !told {
                watch(Event::Waiting(&self.lock));
                told = true;
            }
            let there = self.fetched_by_anyone();
            if there != seen {
                (seen, since) = (there, Instant::now());
            } else if since.elapsed() > self.hub.patience {
                return Err(DownloadError::Locked {
                    file: self.file.to_owned(),
                    lock: self.lock.clone(),
                    seconds: self.hub.patience.as_secs(),
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Bytes in the files that begin with the blob's name, whichever program writes them.
    fn fetched_by_anyone(&self) -> u64 {
        let entries = self.whole.parent().map(std::fs::read_dir);
        let ours = |name: &str| name.starts_with(&self.metadata.etag);
        let files = entries.into_iter().flatten().flatten().flatten();
        files
            .filter(|entry| entry.file_name().to_str().is_some_and(ours))
            .map(|entry| length(&entry.path()))
            .sum()
    }

    /// Brings the partial file to its full length.
    fn transfer(
        &self,
        remote: &Remote,
        commit: &str,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), DownloadError> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.partial)
            .map_err(|error| self.io("write", &self.partial, error))?;
        let mut retries = Retries::new(self.hub);
        loop {
            let start = length(&self.partial);
            if start == self.size() {
                return file
                    .sync_all()
                    .map_err(|error| self.io("write", &self.partial, error));
            }
            if start > self.size() {
                self.empty(&file)?;
                continue;
            }
            if let Err(error) = self.attempt(remote, commit, start, &mut file, watch) {
                if length(&self.partial) > start {
                    retries.forget();
                }
                retries.after(error, watch)?;
            }
        }
    }

    fn attempt(
        &self,
        remote: &Remote,
        commit: &str,
        start: u64,
        file: &mut File,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), DownloadError> {
        let Answer { url, response, .. } = remote.open(commit, self.file, start)?;
        let headers = response.headers();
        let (first, total) = content_range(headers).unwrap_or_default();
        let (mut position, total) = match response.status() {
            StatusCode::PARTIAL_CONTENT if first == Some(start) => (start, total),
            // The server gives all of it, whatever was asked for.
            StatusCode::OK => {
                if start > 0 {
                    self.empty(file)?;
                }
                (0, content_length(headers))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => (start, total.or(Some(start))),
            status => {
                return Err(remote.answer(
                    &url,
                    format!("{status} is not what was asked for: from byte {start}"),
                ));
            }
        };
        if let Some(total) = total.filter(|&total| total != self.size()) {
            return Err(self.wrong_size(total));
        }
        let mut body = response.into_body().into_reader();
        let mut piece = vec![0; PIECE];
        loop {
            watch(Event::Position(position));
            let read = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(position, error)),
            };
            position += read as u64;
            if position > self.size() {
                return Err(self.wrong_size(position));
            }
            file.write_all(&piece[..read])
                .map_err(|error| self.io("write", &self.partial, error))?;
        }
        if position < self.size() {
            return Err(self.broken(position, ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Takes the hash, where the blob's name is one.
    fn verify(&self, watch: &mut dyn FnMut(Event)) -> Result<(), DownloadError> {
        let expected = &self.metadata.etag;
        if expected.len() != 64 || !expected.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(());
        }
        watch(Event::Verifying(self.file));
        let mut hash = Sha256::new();
        File::open(&self.partial)
            .and_then(|mut file| io::copy(&mut file, &mut hash))
            .map_err(|error| self.io("read", &self.partial, error))?;
        let actual = format!("{:x}", hash.finalize());
        if actual.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        self.remove();
        Err(DownloadError::WrongHash {
            file: self.file.to_owned(),
            expected: expected.clone(),
            actual,
        })
    }

    fn empty(&self, file: &File) -> Result<(), DownloadError> {
        file.set_len(0)
            .map_err(|error| self.io("write", &self.partial, error))
    }

    fn remove(&self) {
        // Where it cannot be removed, its next use will find it wrong again.
        let _ = std::fs::remove_file(&self.partial);
    }

    fn wrong_size(&self, actual: u64) -> DownloadError {
        self.remove();
        DownloadError::WrongSize {
            file: self.file.to_owned(),
            expected: self.size(),
            actual,
        }
    }

    fn broken(&self, position: u64, source: io::Error) -> DownloadError {
        DownloadError::Broken {
            file: self.file.to_owned(),
            position,
            size: self.size(),
            source,
        }
    }

    fn io(&self, action: &'static str, path: &Path, source: io::Error) -> DownloadError {
        if source.kind() == ErrorKind::StorageFull {
            return DownloadError::NoSpace {
                folder: self.hub.cache.clone(),
                needed: self.missing(),
                free: None,
            };
        }
        DownloadError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Refuses to begin what the disk has no room for.
pub(super) fn check_space(folder: &Path, blobs: &[Blob]) -> Result<(), DownloadError> {
    let needed: u64 = blobs.iter().map(Blob::missing).sum();
    // What the system does not tell, the first write will.
    match free_space(folder) {
        Some(free) if free < needed => Err(DownloadError::NoSpace {
            folder: folder.to_owned(),
            needed,
            free: Some(free),
        }),
        _ => Ok(()),
    }
}

/// Bytes that a user may still write where `folder` is, or will be.
#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let room = rustix::fs::statvfs(existing).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}
