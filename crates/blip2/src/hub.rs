//! Models by name: where the Hugging Face libraries keep what they once fetched. Nothing is fetched here.

use std::path::{Component, Path, PathBuf};

use crate::Blip2Error;

/// The snapshot that a plain download follows.
const REVISION: &str = "main";

/// The folder or file that `model` is: a path that exists, or the name of a model on the hub, such as
/// `Salesforce/blip2-opt-2.7b`, that stands in the local cache of the Hugging Face libraries (`$HF_HUB_CACHE`, else `hub` in
/// `$HF_HOME`, else in `huggingface` in the user's cache folder). A path that is neither is given back as it is.
///
/// # Errors
/// [`Blip2Error::NotInCache`] where `model` looks like a name and is not there, with what was looked for.
pub fn locate(model: &Path) -> Result<PathBuf, Blip2Error> {
    match hub_name(model) {
        Some(name) if !model.exists() => snapshot(&name),
        _ => Ok(model.to_owned()),
    }
}

/// `owner/name`, where `model` is of that form.
fn hub_name(model: &Path) -> Option<String> {
    let allowed = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphanumeric())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    let (owner, name) = model.to_str()?.split_once('/')?;
    (allowed(owner) && allowed(name)).then(|| format!("{owner}/{name}"))
}

fn snapshot(name: &str) -> Result<PathBuf, Blip2Error> {
    let absent = |path: &Path, what: &'static str| Blip2Error::NotInCache {
        name: name.to_owned(),
        what,
        path: path.to_owned(),
    };
    let cache = cache_folder().ok_or_else(|| absent(Path::new("~/.cache"), "a folder for caches"))?;
    let folder = cache.join(format!("models--{}", name.replace('/', "--")));
    if !folder.is_dir() {
        return Err(absent(&folder, "the model's folder"));
    }
    let reference = folder.join("refs").join(REVISION);
    let commit = std::fs::read_to_string(&reference)
        .map_err(|_| absent(&reference, "the note of which snapshot is the newest"))?;
    let snapshot = folder.join("snapshots").join(commit.trim());
    let mut inside = Path::new(commit.trim()).components();
    let plain = matches!((inside.next(), inside.next()), (Some(Component::Normal(_)), None));
    if plain && snapshot.is_dir() {
        Ok(snapshot)
    } else {
        Err(absent(&snapshot, "the snapshot"))
    }
}

fn cache_folder() -> Option<PathBuf> {
    let folder = |variable| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let user = || folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let home = || folder("HF_HOME").or_else(|| user().map(|cache| cache.join("huggingface")));
    folder("HF_HUB_CACHE").or_else(|| home().map(|home| home.join("hub")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_owner_and_no_other_folder() {
        for (path, is_name) in [
            ("Salesforce/blip2-opt-2.7b", true),
            ("runs/demo", true),
            ("demo", false),
            ("./runs/demo", false),
            ("../runs", false),
            ("/runs/demo", false),
            ("a/b/c", false),
            ("a/", false),
            ("a/..", false),
        ] {
            assert_eq!(hub_name(Path::new(path)).is_some(), is_name, "{path}");
        }
    }

    #[test]
    fn what_exists_is_no_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(locate(folder.path()).unwrap(), folder.path());
    }
}
