//! Finding a model in the local cache, as `snapshot_download(..., local_files_only=True)` does. Nothing is fetched here.

use std::path::{Component, Path, PathBuf};

use thiserror::Error;

use crate::environment::Environment;

/// The revision that is meant where none is named.
pub(crate) const MAIN: &str = "main";

/// Why the cache does not give a model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// No folder for the cache can be derived from the environment.
    #[error(
        "there is no folder for the Hugging Face cache: set HF_HOME (neither XDG_CACHE_HOME nor HOME is usable)"
    )]
    NoCache,
    /// The cache does not know the name.
    #[error(
        "{name} is neither a folder nor a model in the Hugging Face cache: {folder} is not there; fetch the model with \
         `blip2 pull {name}`, or set HF_HOME or HF_HUB_CACHE if the cache is kept in another folder",
        folder = folder.display()
    )]
    NoModel {
        /// What was asked for.
        name: String,
        /// Where it would be.
        folder: PathBuf,
    },
    /// The model is there, this revision of it is not.
    #[error(
        "the Hugging Face cache does not hold revision `{revision}` of {name}: {path} is not there; it holds {held}; give one of \
         these to --revision, or fetch it with `blip2 pull {name} --revision {revision}`",
        path = path.display()
    )]
    NoRevision {
        /// The model.
        name: String,
        /// What was asked for.
        revision: String,
        /// The note or snapshot that was looked for.
        path: PathBuf,
        /// The revisions that are there.
        held: String,
    },
    /// A revision asked for of what is no name.
    #[error(
        "{path} is a path, not the name of a model on the hub (OWNER/NAME): it has no revision `{revision}`",
        path = path.display()
    )]
    NoName {
        /// What was given.
        path: PathBuf,
        /// What was asked for.
        revision: String,
    },
}

/// The folder or file that `model` is: a path that exists, or the name of a model on the hub, such as
/// `Salesforce/blip2-opt-2.7b`, that stands in the local cache of the Hugging Face libraries (`$HF_HUB_CACHE`, else
/// `$HUGGINGFACE_HUB_CACHE`, else `hub` in `$HF_HOME`, else in `huggingface` in the user's cache folder). A path that is
/// neither is given back as it is.
///
/// `revision` is a branch or tag that was once fetched, or the whole hash of a commit; `None` is `main`.
///
/// # Errors
/// [`CacheError`] where `model` looks like a name and is not there in this revision, with what was looked for, or where a
/// revision is asked for of a path.
pub fn locate(model: &Path, revision: Option<&str>) -> Result<PathBuf, CacheError> {
    locate_in(Environment::of_process(), model, revision)
}

fn locate_in(environment: Environment, model: &Path, revision: Option<&str>) -> Result<PathBuf, CacheError> {
    match (hub_name(model).filter(|_| !model.exists()), revision) {
        (Some(name), _) => {
            let cache = environment.cache().ok_or(CacheError::NoCache)?;
            Repository::new(&cache, name).snapshot(revision.unwrap_or(MAIN))
        }
        (None, None) => Ok(model.to_owned()),
        (None, Some(revision)) => Err(CacheError::NoName {
            path: model.to_owned(),
            revision: revision.to_owned(),
        }),
    }
}

/// `owner/name`, where `model` is of that form.
pub fn hub_name(model: &Path) -> Option<&str> {
    let allowed = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphanumeric())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
    };
    let text = model.to_str()?;
    let (owner, name) = text.split_once('/')?;
    (allowed(owner) && allowed(name)).then_some(text)
}

/// Whether `revision` is the whole hash of a commit, which names a snapshot by itself.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40
        && revision
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folder of one model in the cache: `refs` with the commits that names stood for, `snapshots` with a folder a commit.
pub(crate) struct Repository<'a> {
    name: &'a str,
    pub(crate) folder: PathBuf,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(cache: &Path, name: &'a str) -> Self {
        Self {
            name,
            folder: cache.join(format!("models--{}", name.replace('/', "--"))),
        }
    }

    /// The snapshot that `revision` names.
    pub(crate) fn snapshot(&self, revision: &str) -> Result<PathBuf, CacheError> {
        if !self.folder.is_dir() {
            return Err(CacheError::NoModel {
                name: self.name.to_owned(),
                folder: self.folder.clone(),
            });
        }
        let absent = |path: PathBuf| CacheError::NoRevision {
            name: self.name.to_owned(),
            revision: revision.to_owned(),
            path,
            held: self.held(),
        };
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            let note = self.folder.join("refs").join(revision);
            match is_inside(revision).then(|| std::fs::read_to_string(&note)) {
                Some(Ok(commit)) => commit.trim().to_owned(),
                _ => return Err(absent(note)),
            }
        };
        let snapshot = self.folder.join("snapshots").join(&commit);
        if is_inside(&commit) && snapshot.is_dir() {
            Ok(snapshot)
        } else {
            Err(absent(snapshot))
        }
    }

    /// The revisions that could be asked for, in words.
    fn held(&self) -> String {
        let mut held = Vec::new();
        names_below(&self.folder.join("refs"), "", &mut held);
        let names = held.len();
        let commits = std::fs::read_dir(self.folder.join("snapshots"));
        held.extend(
            commits
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok()),
        );
        held[..names].sort();
        held[names..].sort();
        match held.is_empty() {
            true => "none".to_owned(),
            false => held.join(", "),
        }
    }
}

/// Names of the files below `folder`, where `/` in a revision has made folders.
fn names_below(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => names_below(&entry.path(), &format!("{prefix}{name}/"), names),
            _ => names.push(format!("{prefix}{name}")),
        }
    }
}

/// Whether `path` leads to a place below the folder that it is joined to.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;

    const FIRST: &str = "0123456789abcdef0123456789abcdef01234567";
    const SECOND: &str = "ffffffffffffffffffffffffffffffffffffffff";

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
    fn what_exists_is_no_name_and_has_no_revision() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(locate(folder.path(), None).unwrap(), folder.path());
        let error = locate(folder.path(), Some("v1.0")).unwrap_err();
        assert!(matches!(error, CacheError::NoName { .. }), "{error}");
    }

    /// What `revision` of `o/n` leads to in a cache with these notes in `refs`, and two snapshots.
    fn find(notes: &[(&str, &str)], revision: Option<&str>) -> Result<String, String> {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--o--n");
        for commit in [FIRST, SECOND] {
            fs::create_dir_all(repository.join("snapshots").join(commit)).unwrap();
        }
        for (name, commit) in notes {
            let note = repository.join("refs").join(name);
            fs::create_dir_all(note.parent().unwrap()).unwrap();
            fs::write(note, commit).unwrap();
        }
        let variable = |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from(cache.path()));
        let found = locate_in(Environment::of(&variable), Path::new("o/n"), revision);
        let inside = |path: PathBuf| {
            path.strip_prefix(repository.join("snapshots"))
                .unwrap()
                .display()
                .to_string()
        };
        found.map(inside).map_err(|error| error.to_string())
    }

    #[test]
    fn a_revision_is_a_name_once_fetched_or_a_whole_hash() {
        let notes = [
            ("v1.0", FIRST),
            ("refs/pr/1", SECOND),
            ("line-end", &format!("{FIRST}\n")),
        ];
        for (revision, commit) in [
            ("v1.0", FIRST),
            ("refs/pr/1", SECOND),
            ("line-end", FIRST),
            (SECOND, SECOND),
        ] {
            assert_eq!(find(&notes, Some(revision)).as_deref(), Ok(commit), "{revision}");
        }
        assert_eq!(find(&[("main", SECOND)], None).as_deref(), Ok(SECOND));
    }

    #[test]
    fn what_the_reference_does_not_find_is_not_found_and_what_is_there_is_named() {
        let notes = [
            ("v1.0", FIRST),
            ("gone", &"e".repeat(40)),
            ("out", "../../x"),
            ("refs/pr/1", SECOND),
        ];
        for (revision, missing) in [
            (None, "refs/main"),
            (Some("0123456"), "refs/0123456"),
            (Some(&*FIRST.to_uppercase()), "refs/0123456789ABC"),
            (Some("gone"), "snapshots/eeeee"),
            (Some("out"), "snapshots/../../x"),
            (Some("../refs/v1.0"), "refs/../refs/v1.0"),
            (Some(""), "refs/"),
            (Some("refs"), "refs/refs"),
        ] {
            let message = find(&notes, revision).unwrap_err();
            assert!(message.contains(missing), "{message}");
            assert!(
                message.contains(&format!(
                    "it holds gone, out, refs/pr/1, v1.0, {FIRST}, {SECOND};"
                )),
                "{message}"
            );
        }
        let variable = |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from("nowhere"));
        let error = locate_in(Environment::of(&variable), Path::new("o/n"), Some("main")).unwrap_err();
        assert!(matches!(error, CacheError::NoModel { .. }), "{error}");
        let error = locate_in(Environment::of(&|_| None), Path::new("o/n"), None).unwrap_err();
        assert!(matches!(error, CacheError::NoCache), "{error}");
    }
}
