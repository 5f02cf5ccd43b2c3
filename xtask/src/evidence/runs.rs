//! The runs that claims stand on: trained once, finished where they were cut off, kept with who made them.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::claim::{Claims, Filtering, Making, Training, place_of};
use crate::device::Device;
use crate::launch::{self, PRETRAIN};
use crate::process::{self, Ending};
use crate::ranks::Ranks;
use crate::{places, unit};

/// The file in the folder of a run or an evaluation that says how it was made.
const MADE: &str = "made.json";
/// What stands for the cache folder in options and data sets.
const HOME: &str = "home";
/// How often a run that is killed goes on by itself.
const RESTARTS: u32 = 3;

/// By what something was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Maker {
    /// Of the repository.
    commit: String,
    /// Name and vector unit.
    processor: String,
}

impl Maker {
    /// This machine, with the repository as it is.
    fn here() -> Self {
        Self {
            commit: commit(),
            processor: format!("{}, {}", unit::processor(), unit::at_work()),
        }
    }

    /// Whose what lies in `folder` is: as it says itself, else from now on that of this machine.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        if let Some(maker) = read(folder)? {
            return Ok(maker);
        }
        let maker = Self::here();
        keep(folder, &maker)?;
        Ok(maker)
    }
}

impl Display for Maker {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "at {} on {}", self.commit, self.processor)
    }
}

/// How a run was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    #[serde(flatten)]
    pub(crate) by: Maker,
    /// SHA-256 of the recipe and what was changed of it.
    decided: String,
    finished: bool,
}

/// Where runs lie, and what they are made with.
pub(crate) struct Runs<'a> {
    pub(crate) claims: &'a Claims,
    pub(crate) folder: PathBuf,
    pub(crate) binary: PathBuf,
    pub(crate) home: PathBuf,
    /// Changes of every recipe.
    pub(crate) set: Vec<String>,
}

impl Runs<'_> {
    /// The folder of `run` with this seed.
    pub(crate) fn place(&self, run: &str, seed: u64) -> PathBuf {
        self.folder.join(format!("{run}-{seed}"))
    }

    /// `text` with the folder of each run in place of its name in braces, and the cache folder in place of `home`.
    pub(crate) fn placed(&self, text: &str, seed: u64) -> String {
        let names = self.claims.runs.keys();
        let text = text.replace(&place_of(HOME), &self.home.to_string_lossy());
        names.fold(text, |text, run| {
            text.replace(&place_of(run), &self.place(run, seed).to_string_lossy())
        })
    }

    /// Trains `run` with this seed to its end, unless that was done.
    ///
    /// # Errors
    /// A run of another recipe in its place, or one that fails.
    pub(crate) fn finish(&self, run: &str, seed: u64) -> Result<Made> {
        let (making, folder) = (&self.claims.runs[run], self.place(run, seed));
        let decided = self.decided(making, seed)?;
        let made = match read::<Made>(&folder)? {
            Some(made) if made.decided != decided => bail!(
                "{} was made by another recipe: remove it, or choose another folder with --runs",
                places::shown(&folder)
            ),
            Some(made) if made.finished => return Ok(made),
            Some(made) => made,
            None if folder.exists() => bail!(
                "{} is a run without {MADE}: remove it, or choose another folder with --runs",
                places::shown(&folder)
            ),
            None => Made {
                by: Maker::here(),
                decided,
                finished: false,
            },
        };
        eprintln!("{run}, seed {seed}: about {} minutes", making.minutes());
        keep(&folder, &made)?;
        let ending = match making {
            Making::Training(training) => self.train(training, seed, &folder)?,
            Making::Filtering(filtering) => self.filter(filtering, seed, &folder)?,
        };
        if !ending.is_success() {
            bail!("{run}, seed {seed}: {ending}");
        }
        let made = Made {
            finished: true,
            ..made
        };
        keep(&folder, &made)?;
        Ok(made)
    }

    fn train(&self, training: &Training, seed: u64, folder: &Path) -> Result<Ending> {
        launch::Training {
            name: PRETRAIN,
            binary: self.binary.clone(),
            home: self.home.clone(),
            recipe: places::root().join(&training.recipe),
            set: self.changes(training, seed),
            // The program refuses a folder with a run only where there is one; going on in an empty one is beginning.
            resume: true,
            download: false,
            max_restarts: RESTARTS,
            device: Device::Flex,
            ranks: Ranks::default(),
            run: folder.to_owned(),
        }
        .supervise()
    }

    fn filter(&self, filtering: &Filtering, seed: u64, folder: &Path) -> Result<Ending> {
        let mut command = Command::new(&self.binary);
        command.arg("capfilt").args(self.options(filtering, seed));
        command.arg("--out").arg(folder).arg("--resume");
        command.env("BLIP2_HOME", &self.home);
        process::run(&mut command, || ())
    }

    /// What decides a run, short.
    fn decided(&self, making: &Making, seed: u64) -> Result<String> {
        match making {
            Making::Training(training) => {
                let recipe = places::root().join(&training.recipe);
                let text =
                    fs::read(&recipe).with_context(|| format!("cannot read {}", places::shown(&recipe)))?;
                let changes = self.changes(training, seed).join("\n");
                Ok(short_digest(&[&text, changes.as_bytes()]))
            }
            Making::Filtering(filtering) => {
                let options = self.options(filtering, seed).join("\n");
                Ok(short_digest(&[options.as_bytes()]))
            }
        }
    }

    fn options(&self, filtering: &Filtering, seed: u64) -> Vec<String> {
        let own = filtering.capfilt.iter();
        let own = own.map(|option| self.placed(option, seed));
        own.chain([format!("--seed={seed}")]).collect()
    }

    fn changes(&self, training: &Training, seed: u64) -> Vec<String> {
        let own = training.set.iter().chain(&self.set);
        let own = own.map(|change| self.placed(change, seed));
        own.chain([format!("seed={seed}")]).collect()
    }
}

/// What `folder` says of how it was made, where it says anything.
fn read<T: DeserializeOwned>(folder: &Path) -> Result<Option<T>> {
    let file = folder.join(MADE);
    let text = match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", places::shown(&file)))?,
    };
    let said = serde_json::from_slice(&text);
    said.with_context(|| format!("{} is damaged", places::shown(&file)))
        .map(Some)
}

fn keep(folder: &Path, made: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(made)? + "\n";
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(folder.join(MADE), text))
        .with_context(|| format!("cannot write into {}", places::shown(folder)))
}

/// The first digits of the SHA-256 of `parts`.
pub(crate) fn short_digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The commit of the repository, with a `+` where files differ from it; where there is no git, that it is not known.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(places::root())
            .args(arguments)
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    match (commit, changed) {
        (Some(commit), Some(changed)) if changed.is_empty() => format!("commit {commit}"),
        (Some(commit), _) => format!("commit {commit}+"),
        _ => "a commit that is not known".to_owned(),
    }
}
