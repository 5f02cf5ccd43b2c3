//! Which files a path names: one, those in braces, those of a glob or of a folder.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::webdataset::expand_braces;
use super::{DataSpec, SetError};

/// The files that `spec.path` names, in the order in which it names them; in a folder those that end with one of `endings`, by
/// name.
///
/// # Errors
/// Where there is none, or braces do not close.
pub(super) fn files(spec: &DataSpec, endings: &[&str]) -> Result<Vec<PathBuf>, SetError> {
    let mut files = Vec::new();
    for path in expand_braces(&spec.path).map_err(|problem| spec.error(problem))? {
        let path = PathBuf::from(path);
        let unreadable = |source| SetError::Read {
            path: path.clone(),
            source,
        };
        if path.is_dir() {
            let all = format!("{}/**/*", glob::Pattern::escape(&path.to_string_lossy()));
            let found = matching(&all).map_err(unreadable)?.into_iter();
            files.extend(found.filter(|file| {
                let name = file.to_string_lossy();
                file.is_file() && endings.iter().any(|end| name.ends_with(end))
            }));
        } else if path.exists() || !path.to_string_lossy().contains(['*', '?', '[']) {
            files.push(path);
        } else {
            files.extend(matching(&path.to_string_lossy()).map_err(unreadable)?);
        }
    }
    if files.is_empty() {
        return Err(spec.error(format!(
            "there is no file of that name; a folder should hold one that ends with {}",
            endings.join(" or ")
        )));
    }
    Ok(files)
}

/// The files and folders that `pattern` finds, by name.
pub(super) fn matching(pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    let found = glob::glob(pattern).map_err(|error| Error::new(ErrorKind::InvalidInput, error))?;
    found.map(|path| path.map_err(Error::from)).collect()
}

/// The files in `folder` and below, by their paths relative to it, in the order of their names; and what cannot be used of them: links
/// that lead nowhere, names that are not UTF-8. Hidden files are left out, as the shell does.
pub(super) fn below(folder: &Path) -> Result<(Vec<String>, Vec<String>), SetError> {
    let (mut files, mut unusable) = (Vec::new(), Vec::new());
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    let entries = entries
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b"."));
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type().is_file() => {
                let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                match relative.to_str() {
                    Some(name) => files.push(name.to_owned()),
                    None => unusable.push(relative.display().to_string()),
                }
            }
            Ok(_) => {}
            Err(error) => match error.path().filter(|_| error.depth() > 0) {
                Some(path) => unusable.push(path.display().to_string()),
                None => return Err(SetError::walking(folder, error)),
            },
        }
    }
    Ok((files, unusable))
}

/// The folder in which `file` lies.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The name of `file` without its folder and ending.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
