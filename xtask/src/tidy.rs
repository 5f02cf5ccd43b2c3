//! Rules of the house that no compiler checks: short files that say what they are about, manifests that take their
//! versions from the workspace, and no trace of the machine on which something was written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MAX_LINES: usize = 500;

/// Folders at the root that are not part of the repository; see `.gitignore`.
const OUTSIDE: &[&str] = &[".git", "target", "runs"];

/// Beginnings of paths that only exist on somebody's machine. Split, so that this file is tidy itself.
const MACHINE_PATHS: &[&str] = &[
    concat!("/", "work"),
    concat!("/", "tmp"),
    concat!("/", "root"),
    concat!("/", "home"),
    concat!("/", "Users"),
];

/// Hosts of package registries: packages are fetched by name, with the client that the user has set up.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("registry.npm", "js.org"),
];

/// Everything that is untidy in the repository at `root`, a line each: file, line where there is one, and what to do.
///
/// # Errors
/// A file or folder that cannot be read.
pub(crate) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    files.sort();
    let mut complaints = Vec::new();
    for file in &files {
        let bytes = fs::read(root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        // What is not text, such as golden tensors, has no lines to speak of.
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        let mut found = machine_traces(&text);
        if file.extension().is_some_and(|extension| extension == "rs") {
            found.extend(source_rules(file, &text));
        }
        if file.ends_with("Cargo.toml") && file.parent() != Some(Path::new("")) {
            let manifest = root.join(file);
            let has_readme = manifest.with_file_name("README.md").is_file();
            found.extend(manifest_rules(&text, has_readme));
        }
        complaints.extend(
            found
                .into_iter()
                .map(|complaint| format!("{}: {complaint}", file.display())),
        );
    }
    Ok(complaints)
}

/// Adds the files under `folder` to `files`, relative to `root`.
fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let relative = path.strip_prefix(root).unwrap_or(&path);
        if OUTSIDE.iter().any(|outside| relative == Path::new(outside)) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(relative.to_path_buf());
        }
    }
    Ok(())
}

fn source_rules(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found.push(format!("{lines} lines, more than {MAX_LINES}: split it"));
    }
    let in_sources = file.components().any(|part| part.as_os_str() == "src");
    if in_sources && !text.starts_with("//!") {
        found.push("does not begin with a `//!` line that says what it is about".to_owned());
    }
    found
}

fn machine_traces(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for path in MACHINE_PATHS.iter().filter(|path| begins_a_path(line, path)) {
            found.push(format!("line {}: a path of one machine, {path}", number + 1));
        }
        for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(*host)) {
            found.push(format!("line {}: the host of a registry, {host}", number + 1));
        }
    }
    found
}

/// Whether `line` holds `path` as the beginning of an absolute path: not the tail of another one, not part of a word.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/{}()*>".contains(c))
            && !after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

fn manifest_rules(text: &str, has_readme: bool) -> Vec<String> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("not TOML: {error}")],
    };
    // Such as the fuzz targets': a workspace of its own has nothing to take from ours.
    if manifest.contains_key("workspace") {
        return Vec::new();
    }
    let mut found = Vec::new();
    if !from_workspace(manifest.get("lints")) {
        found.push("lacks `[lints] workspace = true`".to_owned());
    }
    let package = manifest.get("package");
    for key in ["version", "edition", "rust-version", "license"] {
        if !from_workspace(package.and_then(|package| package.get(key))) {
            found.push(format!("lacks `{key}.workspace = true`"));
        }
    }
    found.extend(package_rules(package, has_readme));
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets
        .into_iter()
        .flat_map(toml::Table::values)
        .filter_map(toml::Value::as_table);
    for table in std::iter::once(&manifest).chain(targets) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies = table.get(kind).and_then(toml::Value::as_table);
            for (name, dependency) in dependencies.into_iter().flatten() {
                // Tests of a crate may use one that stands on it: by path alone, so that what is published knows nothing of it.
                let stays_home = match kind {
                    "dev-dependencies" => dependency.get("version").is_none(),
                    _ => is_unpublished(package),
                };
                let is_ours = dependency.get("path").is_some() && stays_home;
                if !from_workspace(Some(dependency)) && !is_ours {
                    found.push(format!(
                        "{kind}: `{name}` does not take its version from the workspace"
                    ));
                }
            }
        }
    }
    found
}

/// What a registry asks of a package, or shows of it; nothing of one that is not published.
fn package_rules(package: Option<&toml::Value>, has_readme: bool) -> Vec<String> {
    if is_unpublished(package) {
        return Vec::new();
    }
    let get = |key: &str| package.and_then(|package| package.get(key));
    let mut found = Vec::new();
    for key in ["description", "keywords", "categories"] {
        if get(key).is_none() {
            found.push(format!("lacks `{key}`, and is not `publish = false`"));
        }
    }
    if !from_workspace(get("repository")) {
        found.push("lacks `repository.workspace = true`, and is not `publish = false`".to_owned());
    }
    if !has_readme {
        found.push("has no README.md beside it, and is not `publish = false`".to_owned());
    }
    found
}

fn is_unpublished(package: Option<&toml::Value>) -> bool {
    let publish = package.and_then(|package| package.get("publish"));
    publish.and_then(toml::Value::as_bool) == Some(false)
}

fn from_workspace(value: Option<&toml::Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(toml::Value::as_bool)
        == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\nrepository.workspace = true\ndescription = \"A.\"\n\
        keywords = []\ncategories = []\n[dependencies]\nhalf = { workspace = true }\n\
        [lints]\nworkspace = true\n";

    /// The complaints about a repository that holds nothing but `files`.
    fn about(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        complaints(root.path()).unwrap()
    }

    #[test]
    fn a_tidy_repository_has_no_complaints() {
        let source = format!("//! About.\n{}", "\n".repeat(MAX_LINES - 1));
        let files = [
            ("crates/a/src/lib.rs", source.as_str()),
            ("crates/a/Cargo.toml", MANIFEST),
            ("crates/a/README.md", "# a"),
            ("Cargo.toml", ""),
            ("fuzz/Cargo.toml", "[workspace]\n[package]\nname = \"fuzz\""),
        ];
        assert_eq!(about(&files), Vec::<String>::new());
    }

    #[test]
    fn a_long_file_is_caught() {
        let source = format!("//! About.\n{}", "\n".repeat(MAX_LINES));
        let found = about(&[("crates/a/src/deep/long.rs", &source)]);
        assert_eq!(
            found,
            ["crates/a/src/deep/long.rs: 501 lines, more than 500: split it"]
        );
    }

    #[test]
    fn a_source_file_without_module_docs_is_caught() {
        let found = about(&[
            ("crates/a/src/lib.rs", "// About.\n"),
            ("crates/a/tests/main.rs", "mod a;\n"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("crates/a/src/lib.rs: does not begin"),
            "{found:?}"
        );
    }

    #[test]
    fn machine_paths_and_registry_hosts_are_caught_and_look_alikes_are_not() {
        for path in MACHINE_PATHS {
            let found = about(&[("docs/a.md", &format!("one\nsee `{path}/b`\n"))]);
            assert_eq!(
                found,
                [format!("docs/a.md: line 2: a path of one machine, {path}")]
            );
            let alike = format!("a{path}/b ..{path} {path}s $HOME{path}/c <a>{path}");
            assert_eq!(about(&[("docs/a.md", &alike)]), Vec::<String>::new());
        }
        for host in REGISTRY_HOSTS {
            assert_eq!(about(&[("a.sh", &format!("curl https://{host}/x"))]).len(), 1);
        }
    }

    #[test]
    fn what_git_ignores_is_not_looked_at() {
        let dirty = concat!("/", "root/x");
        assert_eq!(
            about(&[("target/a", dirty), ("runs/a", dirty), (".git/a", dirty)]),
            Vec::<String>::new()
        );
        assert_eq!(about(&[("docs/target/a", dirty)]).len(), 1);
    }

    #[test]
    fn every_rule_of_manifests_is_caught() {
        let breaches = [
            (
                "\nversion.workspace = true",
                "\nversion = \"1.0.0\"",
                "`version.workspace = true`",
            ),
            (
                "edition.workspace = true",
                "edition = \"2024\"",
                "`edition.workspace = true`",
            ),
            (
                "rust-version.workspace = true",
                "",
                "`rust-version.workspace = true`",
            ),
            ("license.workspace = true", "", "`license.workspace = true`"),
            (
                "half = { workspace = true }",
                "half = \"2\"",
                "`half` does not take",
            ),
            (
                "half = { workspace = true }",
                "half = { version = \"2\" }",
                "`half` does not take",
            ),
            (
                "[dependencies]",
                "[target.'cfg(unix)'.dev-dependencies]\nb = \"1\"\n[dependencies]",
                "`b` does not take",
            ),
            (
                "[dependencies]",
                "[dev-dependencies]\nb = { path = \"b\", version = \"1\" }\n[dependencies]",
                "`b` does not take",
            ),
            ("keywords = []", "", "`keywords`"),
            ("categories = []", "", "`categories`"),
            ("description = \"A.\"", "", "`description`"),
            ("repository.workspace = true", "", "`repository.workspace = true`"),
            ("[lints]\nworkspace = true", "", "`[lints] workspace = true`"),
            (
                "[lints]\nworkspace = true",
                "[lints]\nworkspace = false",
                "`[lints] workspace = true`",
            ),
        ];
        for (tidy, untidy, complaint) in breaches {
            let manifest = MANIFEST.replace(tidy, untidy);
            let found = about(&[("crates/a/Cargo.toml", &manifest), ("crates/a/README.md", "# a")]);
            assert_eq!(found.len(), 1, "{untidy}: {found:?}");
            assert!(found[0].contains(complaint), "{untidy}: {found:?}");
        }
        let found = about(&[("crates/a/Cargo.toml", MANIFEST)]);
        assert!(found.len() == 1 && found[0].contains("no README.md"), "{found:?}");
        let home = MANIFEST.replace("keywords = []", "publish = false").replace(
            "[dependencies]",
            "[dev-dependencies]\nb = { path = \"b\" }\n[dependencies]",
        );
        assert_eq!(about(&[("crates/a/Cargo.toml", &home)]), Vec::<String>::new());
    }
}
