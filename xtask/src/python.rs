//! The Python package: its wheel built by maturin, installed into an environment where nothing else is, and tested there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::environment::{Environment, succeeds};
use crate::{launch, places};

/// Builds wheels; of one version so that a failure is ours.
const MATURIN: &str = "maturin==1.16.0";
/// A feature of the package by which the wheel shares the compiled tensor crates with the program.
const SHARED: &str = "shared-build";

/// Whether the wheel passes its tests; `None` where Python, pip, or something to fetch from is missing.
///
/// # Errors
/// The program cannot be built, or files cannot be written.
pub(crate) fn check(target: &Path) -> Result<Option<bool>> {
    let folder = target.join("python");
    let Some(tools) = Environment::with(&folder.join("tools"), MATURIN)? else {
        return Ok(None);
    };
    let Some(wheel) = build(&tools, target, &folder.join("wheels"))? else {
        return Ok(Some(false));
    };
    // Fresh each time: the wheel must name all that it needs.
    let environment = folder.join("environment");
    remove(&environment)?;
    let Some(environment) = Environment::make(&environment)? else {
        return Ok(None);
    };
    let wheel = wheel.to_string_lossy();
    if !environment.install(&["--no-deps", &wheel])? {
        return Ok(Some(false));
    }
    if !environment.install(&[&format!("{wheel}[test]")])? {
        return Ok(None);
    }
    let program = launch::build("blip2")?;
    let mut tests = environment.python();
    tests
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(places::root().join("crates/python/tests"))
        .current_dir(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BLIP2_PROGRAM", program);
    succeeds(&mut tests).map(Some)
}

/// The wheel, in the folder `into` of its own; `None` where it does not build.
fn build(tools: &Environment, target: &Path, into: &Path) -> Result<Option<PathBuf>> {
    remove(into)?;
    let manifest = places::root().join("crates/python/Cargo.toml");
    let mut maturin = tools.python();
    maturin
        .args(["-m", "maturin", "build", "--release", "--compatibility", "linux"])
        .args(["--features", SHARED, "--manifest-path"])
        .arg(&manifest)
        .arg("--out")
        .arg(into)
        .env("CARGO_TARGET_DIR", target)
        .current_dir(places::root());
    if !succeeds(&mut maturin)? {
        return Ok(None);
    }
    let entries = fs::read_dir(into).with_context(|| format!("cannot look into {}", into.display()))?;
    let wheels: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    ensure!(wheels.len() == 1, "maturin made {} wheels", wheels.len());
    Ok(wheels.into_iter().next())
}

fn remove(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display())),
        false => Ok(()),
    }
}
