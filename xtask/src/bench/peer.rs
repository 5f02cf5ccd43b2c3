//! The other side: PyTorch with transformers, or LAVIS, in a Python environment of its own in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{places, process};

/// Python with its packages.
pub(super) struct Peer {
    folder: PathBuf,
}

impl Peer {
    /// The environment in the cache folder `home`.
    ///
    /// # Errors
    /// It was not made, or from other requirements.
    pub(super) fn found(home: &Path) -> Result<Self> {
        let peer = Self::in_home(home);
        for requirements in [Requirements::Transformers, Requirements::Lavis] {
            if !peer.holds(requirements)? {
                bail!(
                    "{} does not hold what {} asks for: make it with `cargo xtask bench --setup`",
                    peer.folder.display(),
                    requirements.file()
                );
            }
        }
        Ok(peer)
    }

    /// Makes the environment, and the files that both sides read: what is in place stays.
    pub(super) fn set_up(home: &Path) -> Result<()> {
        let peer = Self::in_home(home);
        if !peer.python().is_file() {
            finish(
                "python3",
                Command::new("python3")
                    .args(["-m", "venv"])
                    .arg(peer.environment()),
            )?;
        }
        for requirements in [Requirements::Transformers, Requirements::Lavis] {
            if !peer.holds(requirements)? {
                peer.install(requirements)?;
            }
        }
        for script in ["make_picture.py", "make_opt_2_7b.py"] {
            let mut command = Command::new(peer.python());
            command.arg(source(script)).env("BLIP2_HOME", home);
            finish(script, &mut command)?;
        }
        Ok(())
    }

    /// The peer as a process that answers; with `lavis`, the packages of its time stand before the others.
    pub(super) fn command(&self, lavis: bool) -> Command {
        let mut command = Command::new(self.python());
        command.arg(source("peer.py"));
        if lavis {
            command.env("PYTHONPATH", self.lavis());
        }
        command
    }

    fn in_home(home: &Path) -> Self {
        Self {
            folder: home.join("peer"),
        }
    }

    fn environment(&self) -> PathBuf {
        self.folder.join("venv")
    }

    fn python(&self) -> PathBuf {
        self.environment().join("bin/python")
    }

    fn lavis(&self) -> PathBuf {
        self.folder.join("lavis")
    }

    fn install(&self, requirements: Requirements) -> Result<()> {
        eprintln!(
            "installing {} into {}",
            requirements.file(),
            self.folder.display()
        );
        let mut command = Command::new(self.python());
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        if let Requirements::Lavis = requirements {
            let folder = self.lavis();
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
            }
            command.arg("--no-deps").arg("--target").arg(folder);
        }
        command.arg("--requirement").arg(source(requirements.file()));
        finish("pip", &mut command)?;
        let stamp = self.stamp(requirements);
        fs::write(&stamp, requirements.text()?).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Whether the requirements as they are now were installed to the end.
    fn holds(&self, requirements: Requirements) -> Result<bool> {
        let asked = requirements.text()?;
        Ok(fs::read_to_string(self.stamp(requirements)).is_ok_and(|installed| installed == asked))
    }

    fn stamp(&self, requirements: Requirements) -> PathBuf {
        self.folder.join(requirements.file())
    }
}

/// What is installed.
#[derive(Clone, Copy)]
enum Requirements {
    Transformers,
    Lavis,
}

impl Requirements {
    fn file(self) -> &'static str {
        match self {
            Self::Transformers => "requirements.txt",
            Self::Lavis => "requirements-lavis.txt",
        }
    }

    fn text(self) -> Result<String> {
        let file = source(self.file());
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }
}

/// A file of `benches/peer`.
fn source(name: &str) -> PathBuf {
    places::root().join("benches/peer").join(name)
}

fn finish(name: &str, command: &mut Command) -> Result<()> {
    let ending = process::run(command, || ())?;
    if !ending.is_success() {
        bail!("{name} did not finish ({ending})");
    }
    Ok(())
}
