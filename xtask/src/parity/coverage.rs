//! Nothing is skipped in silence: what lies in a golden folder and was not read, taken or compared.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use blip2_golden::{Comparison, Line, is_model};

/// Files of a model folder that a model does not load but a test reads: inputs and outputs of the reference.
const EXPECTATIONS: [&str; 2] = ["expected.safetensors", "cases.json"];

/// A failed comparison for each file that no test read, each tensor of reference values that no test took, and each folder
/// with which nothing was compared. Notes (`.md`) prove nothing and need no reader.
pub(super) fn unproven(golden: &Path, lines: &[Line]) -> Result<Vec<Comparison>> {
    let mut files = Vec::new();
    list(golden, "", None, &mut files)?;
    let mut failures = Vec::new();
    let read: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Read { path } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    for file in &files {
        let by_model = file
            .model
            .as_deref()
            .is_some_and(|model| read.contains(model) && !EXPECTATIONS.contains(&file.name()));
        if !by_model && !read.contains(file.path.as_str()) {
            failures.push(Comparison::failed(&file.path, "unread"));
        }
    }

    let taken: BTreeSet<(&str, &str)> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Taken { file, tensor } => Some((file.as_str(), tensor.as_str())),
            _ => None,
        })
        .collect();
    for line in lines {
        if let Line::Held { file, tensor } = line
            && !taken.contains(&(file.as_str(), tensor.as_str()))
        {
            failures.push(Comparison::failed(file, &format!("unread-{tensor}")));
        }
    }

    let folders: BTreeSet<&str> = files.iter().map(Entry::folder).collect();
    for folder in folders {
        let compared = lines.iter().any(|line| {
            matches!(line, Line::Compared(comparison)
                if Path::new(&comparison.subject).starts_with(folder))
        });
        if !compared {
            failures.push(Comparison::failed(folder, "uncompared"));
        }
    }
    Ok(failures)
}

/// A file in a golden folder.
struct Entry {
    /// Relative to the golden folder, with slashes.
    path: String,
    /// The model folder that it lies in.
    model: Option<String>,
}

impl Entry {
    fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }

    /// What must be compared at least once: its model, else the folder that it lies in.
    fn folder(&self) -> &str {
        match &self.model {
            Some(model) => model,
            None => self.path.rsplit_once('/').map_or("", |(folder, _)| folder),
        }
    }
}

fn list(folder: &Path, name: &str, model: Option<&str>, files: &mut Vec<Entry>) -> Result<()> {
    let unreadable = || format!("cannot list {}", folder.display());
    let model = if is_model(folder) { Some(name) } else { model };
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let own = path.file_name().unwrap_or_default().to_string_lossy();
        let below = match name {
            "" => own.into_owned(),
            _ => format!("{name}/{own}"),
        };
        if path.is_dir() {
            list(&path, &below, model, files)?;
        } else if path.extension().is_none_or(|extension| extension != "md") {
            files.push(Entry {
                path: below,
                model: model.map(str::to_owned),
            });
        }
    }
    Ok(())
}
