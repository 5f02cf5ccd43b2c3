//! Fetching a model from the hub into the cache of the Hugging Face libraries.
//!
//! What is needed of a repository is chosen ([`needed`]), each file is fetched as a blob, named by its hash, resumed where an
//! earlier attempt ended, and verified ([`blob`]); when all are there the snapshot is linked and the name noted, so that a
//! snapshot that this program made is whole or absent ([`snapshot`]).

mod blob;
mod error;
mod needed;
mod remote;
mod retries;
mod snapshot;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::DownloadError;

use self::blob::Blob;
use self::remote::Remote;
use crate::cache::{CacheError, MAIN, Repository, hub_name, is_inside};
use crate::environment::Environment;

/// How long a running transfer may bring nothing, unless the user says otherwise.
const SILENCE: Duration = Duration::from_secs(10);
/// How long another process may hold a file back that does not grow.
const PATIENCE: Duration = Duration::from_secs(120);
/// The wait before the second attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A hub, and the cache that it is mirrored in.
#[derive(Clone)]
pub struct Hub {
    /// Where it answers, without a slash at the end.
    pub endpoint: String,
    /// What names the user to it; no other host sees it.
    pub token: Option<String>,
    /// Whether it must not be asked.
    pub offline: bool,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// How long a transfer may bring nothing before it counts as broken.
    pub silence: Duration,
    /// How long another process may hold a file back that does not grow.
    pub patience: Duration,
    /// The wait before the second attempt; each further one is twice as long.
    pub first_pause: Duration,
}

/// What happens during a download.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So many bytes will lie in the cache when all is done, as far as is known.
    Total(u64),
    /// Work on a file begins.
    File(&'a str),
    /// So many bytes of the total are there.
    Position(u64),
    /// A file is complete and its hash is taken.
    Verifying(&'a str),
    /// Another process fetches the file; its lock is waited for.
    Waiting(&'a Path),
    /// An attempt failed; there will be another one after a pause.
    Retrying(&'a DownloadError, Duration),
}

impl Hub {
    /// The hub and cache that the environment names, by the variables of `huggingface_hub`: `HF_ENDPOINT`; `HF_TOKEN`, else the
    /// file that `hf auth login` writes; `HF_HUB_OFFLINE`; `HF_HUB_DOWNLOAD_TIMEOUT`; and those of [`locate`](crate::locate).
    ///
    /// # Errors
    /// [`DownloadError::Cache`] where no folder for the cache can be derived.
    pub fn of_environment() -> Result<Self, DownloadError> {
        let environment = Environment::of_process();
        Ok(Self {
            endpoint: environment.endpoint(),
            token: environment.token(),
            offline: environment.offline(),
            cache: environment.cache().ok_or(CacheError::NoCache)?,
            silence: environment.download_timeout().unwrap_or(SILENCE),
            patience: PATIENCE,
            first_pause: FIRST_PAUSE,
        })
    }

    /// Fetches what is needed of `revision` (a branch, tag or commit; `None` is `main`) of `model` (`OWNER/NAME`), and gives
    /// the folder of its snapshot. What the cache holds is not fetched again, and what an interrupted download left is gone on
    /// with. Where the hub must not be asked, the cache answers.
    ///
    /// # Errors
    /// [`DownloadError`] says what is wrong and whether what was fetched stays.
    pub fn fetch(
        &self,
        model: &str,
        revision: Option<&str>,
        watch: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, DownloadError> {
        let revision = revision.unwrap_or(MAIN);
        if hub_name(Path::new(model)).is_none() {
            return Err(DownloadError::NoName {
                name: model.to_owned(),
            });
        }
        let repository = Repository::new(&self.cache, model);
        if self.offline {
            return repository.snapshot(revision).map_err(DownloadError::Offline);
        }
        if !is_inside(revision) {
            return Err(DownloadError::NoRevision {
                name: model.to_owned(),
                revision: revision.to_owned(),
            });
        }
        let remote = Remote::new(self, model, revision)?;
        let listing = remote.listing(watch)?;
        let mut mirror = Mirror {
            hub: self,
            folder: &repository.folder,
            commit: listing.commit.clone(),
            remote: &remote,
            blobs: Vec::new(),
            total: 0,
            done: 0,
        };
        let (first, index) = needed::first(model, &listing.files)?;
        mirror.fetch(&first, watch)?;
        if let Some(index) = index {
            let shards = needed::shards(&mirror.path(index), &listing.files)?;
            mirror.fetch(&shards, watch)?;
        }
        let named = (revision, &*mirror.commit);
        snapshot::publish(&self.locks(mirror.folder), mirror.folder, named, &mirror.blobs)?;
        Ok(mirror.snapshot())
    }

    /// Where `huggingface_hub` keeps the locks of the model in `folder`.
    fn locks(&self, folder: &Path) -> PathBuf {
        self.cache
            .join(".locks")
            .join(folder.file_name().unwrap_or_default())
    }
}

/// The folder of `model`, a name on the hub, of which the cache is first given what it lacks: [`Hub::fetch`] of the hub that the
/// environment names. [`locate`](crate::locate) is the same without fetching.
///
/// # Errors
/// [`DownloadError::IsHere`] where `model` is a path that exists; else as for [`Hub::fetch`].
pub fn obtain(
    model: &Path,
    revision: Option<&str>,
    watch: &mut dyn FnMut(Event),
) -> Result<PathBuf, DownloadError> {
    if model.exists() {
        let path = model.to_owned();
        return Err(DownloadError::IsHere { path });
    }
    // What is no text is no name either, and is refused as such.
    Hub::of_environment()?.fetch(&model.to_string_lossy(), revision, watch)
}

/// One commit on its way into the cache.
struct Mirror<'a> {
    hub: &'a Hub,
    folder: &'a Path,
    commit: String,
    remote: &'a Remote<'a>,
    /// What was fetched: names in the repository, and the blobs that hold them.
    blobs: Vec<(String, PathBuf)>,
    /// Bytes of all files that were or will be fetched, and of those that are there.
    total: u64,
    done: u64,
}

impl Mirror<'_> {
    fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit)
    }

    /// Where the content of a file is that was fetched or was there before.
    fn path(&self, file: &str) -> PathBuf {
        let blob = self.blobs.iter().find(|(name, _)| name == file);
        blob.map_or_else(|| self.snapshot().join(file), |(_, blob)| blob.clone())
    }

    /// Fetches those of `files` that the snapshot lacks.
    fn fetch(&mut self, files: &[String], watch: &mut dyn FnMut(Event)) -> Result<(), DownloadError> {
        let mut wanted = Vec::new();
        let snapshot = self.snapshot();
        for file in files.iter().filter(|file| !snapshot.join(file).exists()) {
            let blob = Blob::new(
                self.hub,
                self.folder,
                file,
                self.remote.metadata(&self.commit, file, watch)?,
            );
            self.total += blob.size();
            wanted.push(blob);
        }
        blob::check_space(self.folder, &wanted)?;
        watch(Event::Total(self.total));
        for blob in wanted {
            watch(Event::File(blob.file()));
            let done = self.done;
            let path = blob.fetch(self.remote, &self.commit, &mut |event| match event {
                Event::Position(position) => watch(Event::Position(done + position)),
                other => watch(other),
            })?;
            self.done += blob.size();
            watch(Event::Position(self.done));
            self.blobs.push((blob.file().to_owned(), path));
        }
        Ok(())
    }
}
