//! Where things lie: the repository, the cache folder, the folder that cargo builds in.

use std::path::{Path, PathBuf, absolute};
use std::sync::LazyLock;
use std::{env, fs, io};

use anyhow::{Context, Result};

/// The root of the repository: `$BLIP2_ROOT` on a machine that this program was carried to, else where it was compiled.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        folder_in("BLIP2_ROOT").unwrap_or_else(|| manifest.parent().unwrap_or(manifest).to_path_buf())
    });
    &ROOT
}

/// The cache folder, absolute: `given`, else `$BLIP2_HOME`, else `blip2` in the user's cache folder.
pub(crate) fn home(given: Option<PathBuf>) -> Result<PathBuf> {
    let home = match given.or_else(|| folder_in("BLIP2_HOME")) {
        Some(home) => home,
        None => user_cache()?,
    };
    absolute(&home).with_context(|| format!("{} is not a usable path", home.display()))
}

/// The folder that cargo builds in: `$CARGO_TARGET_DIR`, else one that all checkouts and both of `demo` and `test`
/// share, so that the tensor crates are compiled once.
pub(crate) fn target() -> Result<PathBuf> {
    let target = match folder_in("CARGO_TARGET_DIR") {
        Some(target) => {
            absolute(&target).with_context(|| format!("{} is not a usable path", target.display()))?
        }
        None => user_cache()?.join("target"),
    };
    claim(&target, root()).with_context(|| format!("{} cannot be built in", target.display()))?;
    Ok(target)
}

/// The file in a target folder that names the checkout which built there last.
const BUILT_FROM: &str = "built-from";

/// Makes cargo build our own crates anew in `target` where another checkout than `root` built there last: cargo tells
/// crates of two checkouts apart by the age of their files alone, and would take the other's for ours.
fn claim(target: &Path, root: &Path) -> io::Result<()> {
    let stamp = target.join(BUILT_FROM);
    let root = root.to_string_lossy();
    if fs::read_to_string(&stamp).is_ok_and(|last| last == root) {
        return Ok(());
    }
    // The folders of one target, and of those built in folders of their own below it.
    for profile in folders(target)?.iter().chain([&target.to_path_buf()]) {
        for fingerprints in folders(profile)?
            .iter()
            .map(|profile| profile.join(".fingerprint"))
        {
            for crate_folder in folders(&fingerprints)? {
                let name = crate_folder.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with("blip2-") || name.starts_with("xtask-") {
                    removed(&crate_folder)?;
                }
            }
        }
    }
    fs::create_dir_all(target)?;
    fs::write(stamp, root.as_bytes())
}

/// Removes a folder; another process may have done so.
fn removed(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folders in `folder`; none where it is not there.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    Ok(paths
        .collect::<io::Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

/// `path` as a person in the current folder would write it.
pub(crate) fn shown(path: &Path) -> String {
    let relative = env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
    relative
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}

fn user_cache() -> Result<PathBuf> {
    folder_in("XDG_CACHE_HOME")
        .or_else(|| folder_in("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("blip2"))
        .context(
            "no cache folder: neither XDG_CACHE_HOME nor HOME is set; set BLIP2_HOME and CARGO_TARGET_DIR",
        )
}

fn folder_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_checkout_builds_its_own_crates_and_keeps_the_others() {
        let target = env::temp_dir().join(format!("blip2-claim-{}", std::process::id()));
        let crates = [
            "release/.fingerprint/blip2-core-1",
            "x86/release/.fingerprint/xtask-2",
        ];
        let others = ["release/.fingerprint/burn-1", "release/deps"];
        let build = || {
            for folder in crates.iter().chain(&others) {
                fs::create_dir_all(target.join(folder)).unwrap();
            }
        };
        let built = || crates.map(|folder| target.join(folder).exists());
        claim(&target, Path::new("/first")).unwrap();
        build();
        claim(&target, Path::new("/first")).unwrap();
        assert_eq!(built(), [true, true]);
        claim(&target, Path::new("/second")).unwrap();
        assert_eq!(built(), [false, false]);
        assert!(others.iter().all(|folder| target.join(folder).exists()));
        build();
        claim(&target, Path::new("/first")).unwrap();
        assert_eq!(built(), [false, false]);
        fs::remove_dir_all(target).unwrap();
    }
}
