//! webdataset shards: tar archives, plain or gzipped, in which neighbours of one name are a sample.
//!
//! Each shard is read through once, for the places of its samples; from then on any sample is one read. What webdataset
//! groups is grouped here, what it lets pass in silence is reported.

mod braces;
pub(super) mod captions;
mod group;
mod handles;
mod index;
mod names;
mod place;
#[cfg(feature = "remote")]
mod remote;
mod rules;
mod sample;
#[cfg(test)]
mod scale;
mod survey;
mod tar;
mod unpack;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

pub(super) use braces::escape as escape_braces;
pub use braces::{BracesError, expand as expand_braces};
pub use rules::{CaptionSource, Rules};

use super::cache::Cache;
use super::{DataSpec, Dataset, OpenOptions, Report, Sample, SampleError, SetError, paths};
use crate::ahead;
use handles::Handles;
use index::Index;
use place::{Place, Stamp};
use rules::Refusal;
use sample::Failure;

/// What names of shards end with where a folder is given.
const ENDINGS: [&str; 3] = [".tar", ".tar.gz", ".tgz"];

/// Why shards cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WebDatasetError {
    /// The list of shards cannot be read.
    #[error("cannot read the list of shards {0}")]
    Braces(#[from] BracesError),
    /// A folder without shards.
    #[error("{0} holds no shards: names that end with .tar, .tar.gz or .tgz are looked for")]
    NoShards(String),
    /// A shard is not there, or cannot be read.
    #[error("cannot read the shard {shard}: {source}")]
    Shard {
        /// Where it should lie.
        shard: String,
        /// Why.
        source: io::Error,
    },
    /// The folder for indexes cannot be used.
    #[error("cannot keep the index of {shard}: {source}; is the cache folder writable, and is there room?")]
    Cache {
        /// The shard that it belongs to.
        shard: String,
        /// Why.
        source: io::Error,
    },
}

/// A data set of webdataset shards.
pub struct WebDataset {
    name: String,
    rules: Rules,
    shards: Vec<Shard>,
    /// How many samples lie in front of each shard, and at the end how many there are.
    before: Vec<u64>,
    handles: Handles,
    cache: Cache,
}

struct Shard {
    place: Place,
    stamp: Stamp,
    index: Index,
}

impl WebDataset {
    /// The shards that `path` names: a file, a folder of them, a list in braces such as `shards/{00000..00331}.tar`, or
    /// several by `::`. Shards without a current index in `cache` are read through, by as many threads as there are cores.
    ///
    /// # Errors
    /// If the list cannot be read, a shard is not there, or its index cannot be kept. What is wrong within a shard is
    /// reported, not an error.
    pub fn open(name: &str, path: &str, cache: Cache, rules: Rules) -> Result<Self, WebDatasetError> {
        let places = places(path)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let open = |place: &Place| Shard::open(place, &cache, rules);
        let shards: Vec<Shard> = ahead(&places, threads, threads, open, |opened| {
            opened.collect::<Result<_, _>>()
        })?;
        let mut before = vec![0];
        for shard in &shards {
            before.push(before[before.len() - 1] + shard.index.len() as u64);
        }
        Ok(Self {
            name: name.to_owned(),
            rules,
            handles: Handles::new(),
            shards,
            before,
            cache,
        })
    }

    /// The shards at `path` under the name of `spec`.
    pub(super) fn of(
        spec: &DataSpec,
        options: &OpenOptions,
        path: &str,
        rules: Rules,
    ) -> Result<Self, SetError> {
        let cache = options.cache.clone();
        let cache = cache
            .ok_or_else(|| spec.error("shards need a folder for their indices: `OpenOptions::cache`"))?;
        Self::open(&spec.name(), path, cache, rules).map_err(|error| spec.error(error))
    }

    /// The sample at `index`, and what looked odd in it though it can be used: a JSON member beside the text that is no JSON.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn examine(&self, index: u64) -> Result<(Sample, Vec<Report>), SampleError> {
        self.at(index, |archive, place, shard| {
            sample::read(archive, place, self.rules, shard)
        })
    }

    /// Lets `read` have the archive of the sample at `index`, where it lies in it, and the shard's name.
    fn at<T>(
        &self,
        index: u64,
        read: impl FnOnce(&File, [u64; 2], &str) -> Result<T, Failure>,
    ) -> Result<T, SampleError> {
        let shard = self.before.partition_point(|before| *before <= index);
        let Some(shard) = shard.checked_sub(1).filter(|shard| *shard < self.shards.len()) else {
            let problem = format!("there are {} samples", self.len());
            return Err(refusal(index.to_string(), ("no_such_sample", problem)));
        };
        let within = (index - self.before[shard]) as usize;
        let Shard { place, stamp, index } = &self.shards[shard];
        let failed = |failure| match failure {
            Failure::Sample(error) => error,
            Failure::Shard(error) => {
                let problem = format!("cannot read {}: {error}", place.address());
                refusal(
                    format!("{within} of {}", place.name),
                    ("shard_unreadable", problem),
                )
            }
        };
        let open = || self.open_shard(place, *stamp);
        let archive = self
            .handles
            .get(shard, open)
            .map_err(|error| failed(error.into()))?;
        read(&archive, index.place(within), &place.name).map_err(failed)
    }

    /// The archive, which must still be the one that was indexed.
    fn open_shard(&self, place: &Place, stamp: Stamp) -> io::Result<File> {
        if place.stamp()? != stamp {
            return Err(io::Error::other(
                "it was changed since its index was made; start again",
            ));
        }
        place.archive(&self.cache, stamp)
    }
}

impl Shard {
    fn open(place: &Place, cache: &Cache, rules: Rules) -> Result<Self, WebDatasetError> {
        let shard = || place.address();
        let unreadable = |source| WebDatasetError::Shard {
            shard: shard(),
            source,
        };
        let unkept = |source| WebDatasetError::Cache {
            shard: shard(),
            source,
        };
        let stamp = place.stamp().map_err(unreadable)?;
        let path = index_path(cache, place, rules);
        let index = match Index::open(&path, stamp) {
            Some(index) => index,
            None => {
                let draft = survey::survey(place, stamp, cache, rules).map_err(unreadable)?;
                cache
                    .put(&path, |file| draft.write(stamp, file))
                    .map_err(unkept)?;
                let lost = || unkept(io::Error::other("it is gone as soon as it is written"));
                Index::open(&path, stamp).ok_or_else(lost)?
            }
        };
        let place = place.clone();
        Ok(Self { place, stamp, index })
    }
}

impl Dataset for WebDataset {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.before[self.shards.len()]
    }

    fn runs(&self) -> Vec<u64> {
        self.before.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn read(&self, index: u64) -> Result<Sample, SampleError> {
        self.examine(index).map(|(sample, _)| sample)
    }

    /// From the headers of its members.
    fn key(&self, index: u64) -> Result<String, SampleError> {
        self.at(index, sample::key)
    }

    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for Shard { place, index, .. } in &self.shards {
            hash.update(place.name.as_bytes());
            hash.update((index.len() as u64).to_le_bytes());
            hash.update(index.hash());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn reports(&self) -> Vec<Report> {
        self.shards
            .iter()
            .flat_map(|shard| shard.index.reports())
            .collect()
    }
}

/// Where the index of a shard lies, or would lie.
fn index_path(cache: &Cache, place: &Place, rules: Rules) -> PathBuf {
    cache.path(&format!("{} {rules:?}", place.address()), ".index")
}

/// The shards that `path` names.
fn places(path: &str) -> Result<Vec<Place>, WebDatasetError> {
    let mut found = Vec::new();
    for name in expand_braces(path)? {
        let path = Path::new(&name);
        if path.is_dir() {
            found.extend(in_folder(&name)?);
        } else if !path.exists() && !name.contains("://") && name.contains(['*', '?', '[']) {
            found.extend(by_glob(&name)?);
        } else {
            found.push(name);
        }
    }
    let place = |shard: String| Place::new(&shard).map_err(|source| WebDatasetError::Shard { shard, source });
    found.into_iter().map(place).collect()
}

/// The shards that a glob finds, by name.
fn by_glob(pattern: &str) -> Result<Vec<String>, WebDatasetError> {
    let unreadable = |source| WebDatasetError::Shard {
        shard: pattern.to_owned(),
        source,
    };
    let paths = paths::matching(pattern).map_err(unreadable)?.into_iter();
    let mut shards: Vec<String> = paths.map(|path| path.to_string_lossy().into_owned()).collect();
    if shards.is_empty() {
        return Err(WebDatasetError::NoShards(pattern.to_owned()));
    }
    shards.sort();
    Ok(shards)
}

/// The shards of a folder, by name.
fn in_folder(folder: &str) -> Result<Vec<String>, WebDatasetError> {
    let unreadable = |source| WebDatasetError::Shard {
        shard: folder.to_owned(),
        source,
    };
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.to_string_lossy();
        if ENDINGS.iter().any(|ending| name.to_lowercase().ends_with(ending)) {
            shards.push(name.into_owned());
        }
    }
    if shards.is_empty() {
        return Err(WebDatasetError::NoShards(folder.to_owned()));
    }
    shards.sort();
    Ok(shards)
}

fn refusal(key: String, (reason, problem): Refusal) -> SampleError {
    SampleError { key, reason, problem }
}
