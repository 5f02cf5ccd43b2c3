//! Reading single files out of the archives that package registries carry.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::catalogue::{Registry, WHOLE};

/// Calls `each` with the content of every one of `members` in `archive`.
///
/// # Errors
/// A broken archive, a member that is not in it, or whatever `each` returns.
pub(crate) fn read_members(
    registry: Registry,
    archive: &Path,
    members: &[&str],
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let broken = || format!("{} is not a whole archive", archive.display());
    let mut file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut missing = members.to_vec();
    match registry {
        Registry::Pip if *members == [WHOLE] => {
            each(WHOLE, &mut file)?;
            missing.clear();
        }
        Registry::Pip => {
            let mut wheel = zip::ZipArchive::new(file).with_context(broken)?;
            for &member in members {
                match wheel.by_name(member) {
                    Ok(mut content) => each(member, &mut content)?,
                    Err(zip::result::ZipError::FileNotFound) => continue,
                    Err(error) => return Err(error).with_context(broken),
                }
                missing.retain(|&left| left != member);
            }
        }
        Registry::Npm => {
            let package = GzDecoder::new(io::BufReader::new(file));
            read_tar(package, &mut missing, each).with_context(broken)?;
        }
        Registry::Apt => {
            let mut unpacking = Command::new("dpkg-deb")
                .arg("--fsys-tarfile")
                .arg(archive)
                .stdout(Stdio::piped())
                .spawn()
                .context("dpkg-deb does not run: Debian's packages are unpacked by it")?;
            if let Some(mut package) = unpacking.stdout.take() {
                match members {
                    [WHOLE] => {
                        each(WHOLE, &mut package)?;
                        missing.clear();
                    }
                    _ => read_tar(package, &mut missing, each).with_context(broken)?,
                }
            }
            if !unpacking.wait()?.success() {
                bail!("{}", broken());
            }
        }
    }
    if !missing.is_empty() {
        bail!("{} holds no {}", archive.display(), missing.join(", "));
    }
    Ok(())
}

/// Calls `each` with every one of `missing` that is in `package`, and takes it off the list.
fn read_tar(
    package: impl Read,
    missing: &mut Vec<&str>,
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    for entry in tar::Archive::new(package).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if let Some(at) = missing.iter().position(|&member| Path::new(member) == path) {
            each(missing.swap_remove(at), &mut entry)?;
        }
    }
    Ok(())
}
