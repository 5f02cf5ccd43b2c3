//! The last step: what was fetched becomes a snapshot with a name.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::DownloadError;

/// Links the `blobs` into the snapshot of `commit` in the folder of a model, each under its name in the repository, and notes
/// that `revision` stands for it. Whoever does the same beside this waits.
pub(super) fn publish(
    locks: &Path,
    folder: &Path,
    (revision, commit): (&str, &str),
    blobs: &[(String, PathBuf)],
) -> Result<(), DownloadError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DownloadError::Io { action, path, source }
    };
    let path = locks.join("snapshot.lock");
    let lock = std::fs::create_dir_all(locks).and_then(|()| File::create(&path));
    let lock = lock.and_then(|lock| lock.lock().map(|()| lock));
    let _lock = lock.map_err(failed("lock", &path))?;

    let snapshot = folder.join("snapshots").join(commit);
    for (file, blob) in blobs {
        let path = snapshot.join(file);
        link(&snapshot, &path, blob).map_err(failed("link", &path))?;
    }
    if revision != commit {
        let path = folder.join("refs").join(revision);
        note(folder, &path, commit).map_err(failed("write", &path))?;
    }
    Ok(())
}

/// Makes `path`, below `snapshot`, a relative link to `blob`, which lies in `blobs` beside `snapshots`.
fn link(snapshot: &Path, path: &Path, blob: &Path) -> io::Result<()> {
    let inside = path.strip_prefix(snapshot).unwrap_or(path);
    // Out of the folders in the snapshot, the snapshot and `snapshots`.
    let depth = inside.components().count() + 1;
    let mut target = PathBuf::from_iter(std::iter::repeat_n(Component::ParentDir, depth));
    target.extend(["blobs".as_ref(), blob.file_name().unwrap_or_default()]);
    std::fs::create_dir_all(path.parent().unwrap_or(snapshot))?;
    match symlink(&target, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // One that was made in the meantime, or one that leads nowhere.
            if std::fs::read_link(path).is_ok_and(|found| found == target) {
                return Ok(());
            }
            std::fs::remove_file(path)?;
            symlink(&target, path)
        }
        done => done,
    }
}

#[cfg(unix)]
use std::os::unix::fs::symlink;

#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;

/// Writes `commit` to `path` at one stroke.
fn note(folder: &Path, path: &Path, commit: &str) -> io::Result<()> {
    let partial = folder.join("blobs").join("revision.incomplete");
    std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
    std::fs::create_dir_all(folder.join("blobs"))?;
    std::fs::write(&partial, commit)?;
    std::fs::rename(&partial, path)
}
