//! Virtual environments of Python, for what is fetched by pip.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::process;

/// A folder with a Python and packages of its own.
pub(crate) struct Environment(PathBuf);

impl Environment {
    /// The one in `folder`, made where it is not there; `None` where Python or its pip cannot do that.
    ///
    /// # Errors
    /// Somebody asked us to stop.
    pub(crate) fn make(folder: &Path) -> Result<Option<Self>> {
        let mut command = Command::new("python3");
        command.args(["-m", "venv"]).arg(folder);
        Ok(succeeds(&mut command)?.then(|| Self(folder.to_owned())))
    }

    /// The one in `folder` with the package `pinned`, `name==version`, which is fetched where it is not there; `None` where it
    /// cannot be fetched.
    ///
    /// # Errors
    /// As for [`Environment::make`].
    pub(crate) fn with(folder: &Path, pinned: &str) -> Result<Option<Self>> {
        let (name, version) = pinned.split_once("==").context("a version")?;
        let there = Self(folder.to_owned());
        let code = format!("from importlib.metadata import version; assert version('{name}') == '{version}'");
        if succeeds(there.python().args(["-c", &code]).stderr(Stdio::null()))? {
            return Ok(Some(there));
        }
        match Self::make(folder)? {
            Some(made) if made.install(&[pinned])? => Ok(Some(made)),
            _ => Ok(None),
        }
    }

    /// Calls `pip install` with `arguments`; whether that was possible.
    ///
    /// # Errors
    /// As for [`Environment::make`].
    pub(crate) fn install(&self, arguments: &[&str]) -> Result<bool> {
        let mut command = self.python();
        command
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(arguments);
        succeeds(&mut command)
    }

    /// Its Python.
    pub(crate) fn python(&self) -> Command {
        Command::new(self.0.join("bin/python"))
    }
}

/// Whether `command` ends well; one that does not start does not.
///
/// # Errors
/// Somebody asked us to stop.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    match process::run(command, || ()) {
        Ok(ending) => Ok(ending.is_success()),
        Err(error) if error.is::<process::Stopped>() => Err(error),
        Err(_) => Ok(false),
    }
}
