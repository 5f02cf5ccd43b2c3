//! The folders that annotations name pictures in. Names come from strangers: they do not lead out of these folders.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{DataSpec, Picture, SampleError, reason};

/// The most bytes of a picture file; more is no picture that anyone trains on, and would take the memory of others.
const MAX_BYTES: u64 = 1 << 30;

/// Folders of pictures.
#[derive(Clone, Debug)]
pub(super) struct Images {
    roots: Vec<PathBuf>,
    strip: Option<String>,
    outside: bool,
}

impl Images {
    /// The folders that `spec` names, else `folder`, in which the annotations lie.
    pub(super) fn of(spec: &DataSpec, folder: &Path) -> Self {
        Self {
            roots: match spec.images.as_slice() {
                [] => vec![folder.to_owned()],
                folders => folders.to_vec(),
            },
            strip: spec.strip.clone(),
            outside: spec.outside,
        }
    }

    /// The pictures within `folder`, by names that are known to lie there.
    pub(super) fn within(folder: &Path) -> Self {
        Self {
            roots: vec![folder.to_owned()],
            strip: None,
            outside: false,
        }
    }

    /// The picture `name` of the sample `key`.
    pub(super) fn read(&self, key: &str, name: &str) -> Result<Picture, SampleError> {
        let bytes = self.bytes(name).map_err(|(reason, problem)| SampleError {
            key: key.to_owned(),
            reason,
            problem,
        })?;
        Ok(Picture::Encoded(bytes))
    }

    fn bytes(&self, name: &str) -> Result<Arc<[u8]>, (&'static str, String)> {
        let stripped = self.strip.as_deref().and_then(|prefix| name.strip_prefix(prefix));
        let relative = Path::new(stripped.unwrap_or(name));
        let unreadable = |path: &Path, problem: String| {
            Err((
                reason::PICTURE_UNREADABLE,
                format!("cannot read {}: {problem}", path.display()),
            ))
        };
        for root in &self.roots {
            if !self.outside && leaves(root, relative) {
                continue;
            }
            let path = root.join(relative);
            match fs::metadata(&path) {
                Ok(found) if !found.is_file() => return unreadable(&path, "it is no file".into()),
                Ok(found) if found.len() > MAX_BYTES => {
                    let problem = format!("{} has {} bytes", path.display(), found.len());
                    return Err((reason::PICTURE_TOO_LARGE, problem));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                _ => {}
            }
            return match fs::read(&path) {
                Ok(bytes) if bytes.is_empty() => {
                    Err((reason::PICTURE_EMPTY, format!("{} is empty", path.display())))
                }
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => unreadable(&path, error.to_string()),
            };
        }
        let folders: Vec<String> = self.roots.iter().map(|root| root.display().to_string()).collect();
        let folders = folders.join(", ");
        Err(
            if !self.outside && self.roots.iter().all(|root| leaves(root, relative)) {
                let problem = format!(
                    "`{name}` does not lie in {folders}: drop its beginning by `strip`, or allow it by `outside = true`"
                );
                (reason::PICTURE_OUTSIDE, problem)
            } else {
                let problem = format!("`{}` is not in {folders}", relative.display());
                (reason::PICTURE_MISSING, problem)
            },
        )
    }
}

/// Whether `name` leads out of `root`.
fn leaves(root: &Path, name: &Path) -> bool {
    let inner = name.strip_prefix(root).unwrap_or(name);
    let stays = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    inner.as_os_str().is_empty() || !inner.components().all(stays)
}
