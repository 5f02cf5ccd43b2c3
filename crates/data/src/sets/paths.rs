//! Which files a path names: one, those in braces, those of a glob or of a folder.

use std::path::{Path, PathBuf};

use super::{DataSpec, SetError};

/// The most files that one path may name.
const MOST: usize = 1 << 24;

/// The files that `spec.path` names, in the order in which it names them; in a folder those that end with one of `endings`, by
/// name.
///
/// # Errors
/// Where there is none, or braces do not close.
pub(super) fn files(spec: &DataSpec, endings: &[&str]) -> Result<Vec<PathBuf>, SetError> {
    let mut files = Vec::new();
    for path in braces(&spec.path).map_err(|problem| spec.error(problem))? {
        let path = PathBuf::from(path);
        if path.is_dir() {
            let all = format!("{}/**/*", glob::Pattern::escape(&path.to_string_lossy()));
            let found = matching(spec, &all)?.into_iter();
            files.extend(found.filter(|file| {
                let name = file.to_string_lossy();
                file.is_file() && endings.iter().any(|end| name.ends_with(end))
            }));
        } else if path.exists() || !path.to_string_lossy().contains(['*', '?', '[']) {
            files.push(path);
        } else {
            files.extend(matching(spec, &path.to_string_lossy())?);
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

fn matching(spec: &DataSpec, pattern: &str) -> Result<Vec<PathBuf>, SetError> {
    let found = glob::glob(pattern).map_err(|error| spec.error(format!("no glob: {error}")))?;
    found
        .map(|path| {
            path.map_err(|error| SetError::Read {
                path: error.path().to_owned(),
                source: error.into(),
            })
        })
        .collect()
}

/// `path` once for each choice that its braces leave: a list `{train,val}` or numbers `{00000..00331}`, which keep their
/// zeros.
///
/// # Errors
/// What is wrong with the braces.
pub(super) fn braces(path: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = path.split_once('{') else {
        return Ok(vec![path.to_owned()]);
    };
    let (inside, after) = rest
        .split_once('}')
        .ok_or_else(|| format!("a brace opens and does not close in `{path}`"))?;
    let choices: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => numbers(first, last)?,
        None => inside.split(',').map(str::to_owned).collect(),
    };
    let ends = braces(after)?;
    if choices.len().saturating_mul(ends.len()) > MOST {
        return Err(format!("`{path}` names more than {MOST} files"));
    }
    let paths = choices
        .iter()
        .flat_map(|choice| ends.iter().map(move |end| format!("{before}{choice}{end}")));
    Ok(paths.collect())
}

fn numbers(first: &str, last: &str) -> Result<Vec<String>, String> {
    let number = |text: &str| text.parse::<u64>().ok();
    match (number(first), number(last)) {
        (Some(from), Some(to)) if from <= to && to - from < MOST as u64 => {
            let digits = first.len();
            Ok((from..=to).map(|number| format!("{number:0digits$}")).collect())
        }
        _ => Err(format!(
            "`{{{first}..{last}}}` should hold two whole numbers, the smaller first"
        )),
    }
}

/// The folder in which `file` lies.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// The name of `file` without its folder and ending.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
