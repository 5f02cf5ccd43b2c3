//! The pictures that a command line names: files, folders, globs.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use blip2::{PixelsError, RgbImage};
use blip2_data::pixels::{ENDINGS, has_picture_name};
use glob::{MatchOptions, Pattern};
use walkdir::{DirEntry, WalkDir};

use crate::model::named;
use crate::pictures::PictureArguments;

/// The pictures that `arguments` name, one argument after the other; those of a folder or glob in the order of their names.
/// `recursive` takes those in folders of a folder, too. A folder or glob without pictures stands for itself among other arguments,
/// and fails as a picture does.
///
/// # Errors
/// Where a folder or glob cannot be read, or the only one has no picture.
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
        match arguments {
            _ if !found.is_empty() => pictures.extend(found),
            [_] => bail!("{} holds no picture: {}", named(argument), nothing(recursive)),
            _ => pictures.push(argument.clone()),
        }
    }
    Ok(pictures)
}

/// The picture in the file at `path`, which [`find`] gave.
///
/// # Errors
/// As for [`PictureArguments::open`]; where it is a folder without pictures, that it is one.
pub(super) fn open(
    path: &Path,
    recursive: bool,
    reading: &PictureArguments,
) -> Result<RgbImage, PixelsError> {
    let found = path.is_dir().then(|| in_folder(path, recursive));
    match found {
        Some(Ok(found)) if found.is_empty() => Err(PixelsError::Read {
            path: path.to_owned(),
            source: io::Error::other(format!("it is a folder, with {}", nothing(recursive))),
        }),
        _ => reading.open(path),
    }
}

/// What a folder without pictures has.
fn nothing(recursive: bool) -> String {
    let below = if recursive {
        ""
    } else {
        "; --recursive looks in the folders below, too"
    };
    format!(
        "no file whose name ends with one of {}{below}",
        ENDINGS.join(", ")
    )
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
        let Some(path) = seen(entry, folder)?.filter(|path| !path.is_dir()) else {
            continue;
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

/// What `glob` itself would find, which panics at a name that is not UTF-8, and follows links that lead back.
fn by_glob(pattern: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let text = pattern.components().collect::<PathBuf>();
    let text = text.to_str().unwrap_or_default();
    let compiled = Pattern::new(text).with_context(|| {
        format!(
            "{} is neither a file nor a glob that can be followed",
            named(pattern)
        )
    })?;
    let parts: Vec<_> = pattern.components().collect();
    let fixed = parts.iter().take_while(|part| !is_glob(Path::new(part))).count();
    let base = parts[..fixed].iter().collect::<PathBuf>();
    let is_here = base.as_os_str().is_empty();
    // What each level must be called, up to where any number of levels may follow.
    let levels: Vec<Pattern> = parts[fixed..]
        .iter()
        .filter_map(|part| Path::new(part).to_str())
        .take_while(|part| *part != "**")
        .map(Pattern::new)
        .collect::<Result<_, _>>()?;
    let depth = match levels.len() < parts.len() - fixed {
        true => usize::MAX,
        false => levels.len(),
    };
    let leads_on = |entry: &DirEntry| match (entry.depth(), entry.file_name().to_str()) {
        (0, _) => true,
        (_, None) => false,
        (depth, Some(name)) => levels
            .get(depth - 1)
            .map_or(!name.starts_with('.'), |level| level.matches_with(name, options)),
    };
    let mut pictures = Vec::new();
    let from = if is_here { Path::new(".") } else { &base };
    let entries = WalkDir::new(from)
        .follow_links(true)
        .min_depth(1)
        .max_depth(depth);
    for entry in entries.sort_by_file_name().into_iter().filter_entry(leads_on) {
        let Some(path) = seen(entry, from)? else {
            continue;
        };
        let path = if is_here {
            path.strip_prefix(from).unwrap_or(&path)
        } else {
            &path
        };
        if !path
            .to_str()
            .is_some_and(|text| compiled.matches_with(text, options))
        {
            continue;
        }
        if path.is_dir() {
            pictures.extend(in_folder(path, recursive)?);
        } else if has_picture_name(path) {
            pictures.push(path.to_owned());
        }
    }
    Ok(pictures)
}

/// A folder or file below `folder`, unless it is of another kind, or leads back.
fn seen(entry: walkdir::Result<DirEntry>, folder: &Path) -> Result<Option<PathBuf>> {
    match entry {
        Ok(entry) if entry.file_type().is_file() || entry.file_type().is_dir() => Ok(Some(entry.into_path())),
        Ok(_) => Ok(None),
        Err(error) if error.loop_ancestor().is_some() => {
            tracing::warn!("{error}: what is behind the link is seen once");
            Ok(None)
        }
        // A link that leads nowhere fails as the picture that it should be.
        Err(error) => match error.path().filter(|path| has_picture_name(path)) {
            Some(path) => Ok(Some(path.to_owned())),
            None => Err(error).with_context(|| format!("cannot look into {}", named(folder))),
        },
    }
}
