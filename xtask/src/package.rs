//! `cargo xtask package`: every crate is packed, and the packages that are published are checked as a stranger has them.
//!
//! `cargo package` would verify each package by building it alone, in a profile and with features of its own: all tensor crates
//! once more for nearly every crate. Unpacked side by side, in one workspace with the versions, the profiles and the folder of this one,
//! they find what was compiled already.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;
use toml::{Table, Value};

use crate::{launch, places, process};

/// A crate of this repository, as `cargo metadata` tells it.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Registries that it may go to: any where nothing is said.
    publish: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Package {
    /// As its file and folder are called.
    fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// Packs, unpacks and checks; whether all of it succeeded. The packages then lie in `target/package`.
///
/// # Errors
/// Cargo cannot be run, or a package cannot be read.
pub(crate) fn run(target: &Path) -> Result<bool> {
    let mut packages = packages()?;
    packages.retain(|package| package.publish.is_none());
    let mut pack = launch::cargo();
    pack.args([
        "package",
        "--workspace",
        "--no-verify",
        "--allow-dirty",
        "--quiet",
    ])
    .env("CARGO_TARGET_DIR", target);
    if !process::run(&mut pack, || ())?.is_success() {
        return Ok(false);
    }
    let packed = target.join("package");
    let unpacked = packed.join("side-by-side");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).with_context(|| format!("cannot clear {}", unpacked.display()))?;
    }
    for package in &packages {
        unpack(&packed.join(format!("{}.crate", package.full_name())), &unpacked)?;
    }
    write_workspace(&unpacked, &packages)?;
    println!("{} packages in {}", packages.len(), places::shown(&packed));
    let mut check = launch::cargo();
    check
        .args(["check", "--release", "--workspace"])
        .current_dir(&unpacked)
        .env("CARGO_TARGET_DIR", target);
    Ok(process::run(&mut check, || ())?.is_success())
}

/// The crates of this repository.
fn packages() -> Result<Vec<Package>> {
    let mut command = launch::cargo();
    command
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit());
    let output = command.output().context("cargo metadata does not start")?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata says something unknown")?;
    Ok(metadata.packages)
}

/// Unpacks a package into a folder of its name in `folder`.
fn unpack(package: &Path, folder: &Path) -> Result<()> {
    let unusable = || format!("cannot unpack {}", package.display());
    let file = File::open(package).with_context(unusable)?;
    tar::Archive::new(GzDecoder::new(file))
        .unpack(folder)
        .with_context(unusable)
}

/// Writes what makes a workspace of the unpacked `packages`: they find one another there instead of in the registry.
fn write_workspace(folder: &Path, packages: &[Package]) -> Result<()> {
    let root = places::root();
    let ours = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let ours: Table = ours.parse().context("Cargo.toml is no TOML")?;
    let members = packages.iter().map(|package| Value::from(package.full_name()));
    let workspace = Table::from_iter([
        ("resolver".to_owned(), "3".into()),
        ("members".to_owned(), Value::Array(members.collect())),
    ]);
    let here = packages.iter().map(|package| {
        let path = Table::from_iter([("path".to_owned(), package.full_name().into())]);
        (package.name.clone(), Value::Table(path))
    });
    let patch = Table::from_iter([("crates-io".to_owned(), Value::Table(here.collect()))]);
    let mut manifest = Table::from_iter([
        ("workspace".to_owned(), Value::Table(workspace)),
        ("patch".to_owned(), Value::Table(patch)),
    ]);
    manifest.extend(ours.into_iter().filter(|(key, _)| key == "profile"));
    fs::write(folder.join("Cargo.toml"), manifest.to_string()).context("cannot write a manifest")?;
    for shared in ["Cargo.lock", "rust-toolchain.toml"] {
        fs::copy(root.join(shared), folder.join(shared)).with_context(|| format!("cannot copy {shared}"))?;
    }
    Ok(())
}
