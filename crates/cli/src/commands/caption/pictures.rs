//! The pictures that a command line names: files, folders, globs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blip2_data::pixels::{ENDINGS, has_picture_name};
use glob::{MatchOptions, glob_with};
use walkdir::WalkDir;

use crate::model::named;

/// The pictures that `arguments` name, one argument after the other; those of a folder or glob in the order of their names.
/// `recursive` takes those in folders of a folder, too.
///
/// # Errors
/// Where a folder or glob has none or cannot be read.
pub(super) fn find(arguments: &[PathBuf], recursive: bool) -> Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for argument in arguments {
        let found = if argument.is_dir() {
            in_folder(argument, recursive)?
        } else if argument.exists() || !is_glob(argument) {
            vec![argument.clone()]
        } else {
            by_glob(argument, recursive)?
        };
        if found.is_empty() {
            bail!(
                "{} holds no picture: no file whose name ends with one of {}{}",
                named(argument),
                ENDINGS.join(", "),
                if recursive {
                    ""
                } else {
                    "; --recursive looks in the folders below, too"
                }
            );
        }
        pictures.extend(found);
    }
    Ok(pictures)
}

fn is_glob(argument: &Path) -> bool {
    argument
        .to_str()
        .is_some_and(|text| text.contains(['*', '?', '[']))
}

/// Hidden files and folders are left out, as the shell does.
fn in_folder(folder: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let depth = if recursive { usize::MAX } else { 1 };
    let entries = WalkDir::new(folder)
        .follow_links(true)
        .max_depth(depth)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let mut pictures = Vec::new();
    for entry in entries {
        let path = match entry {
            Ok(entry) if !entry.file_type().is_file() => continue,
            Ok(entry) => entry.into_path(),
            Err(error) if error.loop_ancestor().is_some() => {
                tracing::warn!("{error}: what is behind the link is seen once");
                continue;
            }
            // A link that leads nowhere fails as the picture that it should be.
            Err(error) => match error.path().filter(|path| has_picture_name(path)) {
                Some(path) => path.to_owned(),
                None => return Err(error).with_context(|| format!("cannot look into {}", named(folder))),
            },
        };
        // Captions are told by the picture's name, as text.
        match has_picture_name(&path) {
            true if path.to_str().is_some() => pictures.push(path),
            true => tracing::warn!("{} is left out: its name is not UTF-8", named(&path)),
            false => {}
        }
    }
    Ok(pictures)
}

fn by_glob(pattern: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let wrong = || {
        format!(
            "{} is neither a file nor a glob that can be followed",
            named(pattern)
        )
    };
    let paths = glob_with(pattern.to_str().unwrap_or_default(), options).with_context(wrong)?;
    let mut pictures = Vec::new();
    for path in paths {
        let path = path.with_context(wrong)?;
        if path.is_dir() {
            pictures.extend(in_folder(&path, recursive)?);
        } else if has_picture_name(&path) && path.is_file() {
            pictures.push(path);
        }
    }
    Ok(pictures)
}
