//! Real models, where somebody fetched them.

use std::path::PathBuf;

/// The file at `place` in the assets folder, where it is.
pub(super) fn file(place: &str) -> Option<PathBuf> {
    let home = std::env::var_os("BLIP2_HOME").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let user = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let home = home.or_else(|| cache.or(user).map(|cache| cache.join("blip2")))?;
    let file = home.join("assets").join(place);
    file.is_file().then_some(file)
}
