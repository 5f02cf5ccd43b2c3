//! The other side: PyTorch with transformers, or LAVIS, or llama.cpp, in a Python environment of its own in the cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::unit::Unit;
use crate::{places, process};

/// Python with its packages.
pub(super) struct Peer {
    folder: PathBuf,
    /// A Python that has all packages, in place of one that was made here.
    ready: Option<PathBuf>,
}

/// Which packages the peer of a workload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Packages {
    /// PyTorch and transformers of today.
    #[default]
    Transformers,
    /// LAVIS and the packages of its time, on the same PyTorch.
    Lavis,
    /// llama.cpp, built here from its source package for one unit.
    Llama,
}

const ALL: [Packages; 3] = [Packages::Transformers, Packages::Lavis, Packages::Llama];

impl Peer {
    /// The environment in the cache folder `home`.
    ///
    /// # Errors
    /// It was not made, or from other requirements.
    pub(super) fn found(home: &Path, unit: Unit) -> Result<Self> {
        let peer = Self::in_home(home);
        peer.check(Packages::Transformers, unit)?;
        Ok(peer)
    }

    /// The Python `python` with whatever packages it has; what both sides read lies in the cache folder `home`.
    pub(super) fn ready(home: &Path, python: PathBuf) -> Self {
        Self {
            ready: Some(python),
            ..Self::in_home(home)
        }
    }

    /// Makes the environment, and the files that both sides read: what is in place stays.
    pub(super) fn set_up(home: &Path, unit: Unit) -> Result<()> {
        let peer = Self::in_home(home);
        if !peer.python().is_file() {
            finish(
                "python3",
                Command::new("python3")
                    .args(["-m", "venv"])
                    .arg(peer.environment()),
            )?;
        }
        for packages in ALL {
            if !peer.holds(packages, unit)? {
                peer.install(packages, unit)?;
            }
        }
        for script in ["make_picture.py", "make_shards.py", "make_opt_2_7b.py"] {
            let mut command = Command::new(peer.python());
            command.arg(source(script)).env("BLIP2_HOME", home);
            finish(script, &mut command)?;
        }
        Ok(())
    }

    /// The peer as a process that answers; packages in a folder of their own stand before the others.
    ///
    /// # Errors
    /// `packages` were not installed for `unit`.
    pub(super) fn command(&self, packages: Packages, unit: Unit) -> Result<Command> {
        self.check(packages, unit)?;
        let mut command = Command::new(self.python());
        command.arg(source("peer.py"));
        if let (None, Some(folder)) = (&self.ready, self.beside(packages, unit)) {
            command.env("PYTHONPATH", folder);
        }
        Ok(command)
    }

    fn check(&self, packages: Packages, unit: Unit) -> Result<()> {
        if self.ready.is_none() && !self.holds(packages, unit)? {
            bail!(
                "{} does not hold what {} asks for: make it with `cargo xtask bench --setup --unit {unit}`",
                self.folder.display(),
                packages.requirements()
            );
        }
        Ok(())
    }

    fn in_home(home: &Path) -> Self {
        Self {
            folder: home.join("peer"),
            ready: None,
        }
    }

    fn environment(&self) -> PathBuf {
        self.folder.join("venv")
    }

    fn python(&self) -> PathBuf {
        match &self.ready {
            Some(python) => python.clone(),
            None => self.environment().join("bin/python"),
        }
    }

    /// The folder of packages that are not among the others.
    fn beside(&self, packages: Packages, unit: Unit) -> Option<PathBuf> {
        match packages {
            Packages::Transformers => None,
            Packages::Lavis => Some(self.folder.join("lavis")),
            Packages::Llama => Some(self.folder.join("llama").join(unit.name())),
        }
    }

    fn install(&self, packages: Packages, unit: Unit) -> Result<()> {
        eprintln!(
            "installing {} into {}",
            packages.requirements(),
            self.folder.display()
        );
        let mut command = Command::new(self.python());
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        if let Some(folder) = self.beside(packages, unit) {
            if folder.exists() {
                fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
            }
            command.arg("--no-deps").arg("--target").arg(folder);
        }
        if packages == Packages::Llama {
            eprintln!("llama.cpp is compiled for {unit}: a quarter of an hour on two cores");
            // What was compiled for another unit must not come out of pip's cache.
            command
                .args(["--no-cache-dir", "--no-binary", "llama-cpp-python"])
                .env("CMAKE_ARGS", llama_options(unit));
        }
        command.arg("--requirement").arg(source(packages.requirements()));
        finish("pip", &mut command)?;
        let stamp = self.stamp(packages, unit);
        fs::write(&stamp, packages.text()?).with_context(|| format!("cannot write {}", stamp.display()))
    }

    /// Whether the requirements as they are now were installed to the end.
    fn holds(&self, packages: Packages, unit: Unit) -> Result<bool> {
        let asked = packages.text()?;
        Ok(fs::read_to_string(self.stamp(packages, unit)).is_ok_and(|installed| installed == asked))
    }

    fn stamp(&self, packages: Packages, unit: Unit) -> PathBuf {
        match packages {
            Packages::Transformers | Packages::Lavis => self.folder.join(packages.requirements()),
            Packages::Llama => self.folder.join("llama").join(format!("{unit}.txt")),
        }
    }
}

impl Packages {
    fn requirements(self) -> &'static str {
        match self {
            Self::Transformers => "requirements.txt",
            Self::Lavis => "requirements-lavis.txt",
            Self::Llama => "requirements-llama.txt",
        }
    }

    fn text(self) -> Result<String> {
        let file = source(self.requirements());
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    }
}

/// llama.cpp takes all that this processor has, less what lies above the unit.
fn llama_options(unit: Unit) -> String {
    let without = match unit {
        Unit::Amx | Unit::Neon => "",
        Unit::Avx512 => "-mno-amx-tile",
        Unit::Avx2 => "-mno-avx512f -mno-avxvnni",
        Unit::Baseline => "-mno-avx",
    };
    format!("-DGGML_NATIVE=ON '-DCMAKE_C_FLAGS={without}' '-DCMAKE_CXX_FLAGS={without}'")
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
