//! Where shards lie, and how one is opened for reading anywhere in it.

use std::fs::{self, File};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

#[cfg(feature = "remote")]
use super::remote::Object;
use super::unpack::{Trouble, is_packed, unpack};
use crate::sets::cache::Cache;

/// A shard, before anything of it was read.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What it is called in reports: its name without folders.
    pub(super) name: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    #[cfg(feature = "remote")]
    Object(Object),
}

/// What tells whether a shard is still the one that was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// In bytes, as it lies there.
    pub(super) size: u64,
    /// Nanoseconds since 1970.
    pub(super) changed: i64,
}

impl Place {
    /// What `name` stands for: a file, or an object in a store.
    ///
    /// # Errors
    /// If it is an address that cannot be read, or the current folder is not known.
    pub(super) fn new(name: &str) -> Result<Self> {
        if name.contains("://") {
            return Self::remote(name);
        }
        Self::local(Path::new(name))
    }

    /// A file.
    ///
    /// # Errors
    /// If the current folder is not known.
    pub(super) fn local(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            source: Source::File(std::path::absolute(path)?),
        })
    }

    #[cfg(feature = "remote")]
    fn remote(address: &str) -> Result<Self> {
        Ok(Self {
            name: address.rsplit('/').next().unwrap_or(address).to_owned(),
            source: Source::Object(Object::at(address)?),
        })
    }

    #[cfg(not(feature = "remote"))]
    fn remote(_: &str) -> Result<Self> {
        Err(Error::other(
            "this program reads no object stores; build it with the feature `remote`",
        ))
    }

    /// What to call it where it must be told from all others.
    pub(super) fn address(&self) -> String {
        match &self.source {
            Source::File(path) => path.to_string_lossy().into_owned(),
            #[cfg(feature = "remote")]
            Source::Object(object) => object.address().to_owned(),
        }
    }

    /// # Errors
    /// If it is not there.
    pub(super) fn stamp(&self) -> Result<Stamp> {
        match &self.source {
            Source::File(path) => Stamp::of_file(path),
            #[cfg(feature = "remote")]
            Source::Object(object) => object.stamp(),
        }
    }

    /// The bytes as they lie there; those of an object by way of the cache.
    #[cfg_attr(
        not(feature = "remote"),
        allow(unused_variables, reason = "files are not cached")
    )]
    fn packed(&self, cache: &Cache, stamp: Stamp) -> Result<File> {
        match &self.source {
            Source::File(path) => File::open(path),
            #[cfg(feature = "remote")]
            Source::Object(object) => {
                let what = self.made("fetched", stamp);
                match cache.shard(&what) {
                    Some(file) => Ok(file),
                    None => cache.put_shard(&what, |target| object.fetch(target)),
                }
            }
        }
    }

    /// The archive as such: where it is compressed, unpacked in the cache.
    ///
    /// # Errors
    /// If it cannot be read, unpacked or kept.
    pub(super) fn archive(&self, cache: &Cache, stamp: Stamp) -> Result<File> {
        match cache.shard(&self.made("unpacked", stamp)) {
            Some(unpacked) => Ok(unpacked),
            None => Ok(self.unpack(cache, stamp)?.0),
        }
    }

    /// As [`Place::archive`], unpacked anew, with what is wrong with the compressed data.
    ///
    /// # Errors
    /// If it cannot be read, unpacked or kept.
    pub(super) fn unpack(&self, cache: &Cache, stamp: Stamp) -> Result<(File, Option<Trouble>)> {
        let file = self.packed(cache, stamp)?;
        if !is_packed(&file)? {
            return Ok((file, None));
        }
        let mut trouble = None;
        let unpacked = cache.put_shard(&self.made("unpacked", stamp), |target| {
            trouble = unpack(&file, target, cache.most_bytes())?;
            Ok(())
        })?;
        Ok((unpacked, trouble))
    }

    /// What the cache calls the file that is made of this.
    fn made(&self, how: &str, stamp: Stamp) -> String {
        let Stamp { size, changed } = stamp;
        format!("{} {size} {changed} {how}", self.address())
    }
}

impl Stamp {
    fn of_file(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(Error::other("it is no file"));
        }
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
        Ok(Self {
            size: metadata.len(),
            changed: changed.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        })
    }
}
