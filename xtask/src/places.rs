//! Where things lie: the repository, the cache folder, the folder that cargo builds in.

use std::env;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
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
    match folder_in("CARGO_TARGET_DIR") {
        Some(target) => {
            absolute(&target).with_context(|| format!("{} is not a usable path", target.display()))
        }
        None => Ok(user_cache()?.join("target")),
    }
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
