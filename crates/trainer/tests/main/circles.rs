//! No circle between the files of this crate: whoever reads one meets what it stands on, and is never led back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// What `use` names of this crate: the first name of each path behind `crate::`.
fn used(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for statement in text.split(';') {
        let Some((_, path)) = statement.split_once("use crate::") else {
            continue;
        };
        let entries = match path.strip_prefix('{') {
            Some(list) => list.split(',').collect(),
            None => vec![path],
        };
        for entry in entries {
            let name: String = entry
                .trim()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            names.extend((!name.is_empty()).then_some(name));
        }
    }
    names
}

/// The text of each module, a file or a folder, without its tests.
fn modules() -> BTreeMap<String, String> {
    fn read(path: &Path) -> String {
        let text = fs::read_to_string(path).expect("readable");
        let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
        text[..tests].to_owned()
    }
    let entries = fs::read_dir(SOURCES).expect("the sources");
    let module = |path: &Path| {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("UTF-8");
        let text = match path.is_dir() {
            true => fs::read_dir(path)
                .expect("a folder")
                .map(|entry| read(&entry.expect("a file").path()) + ";")
                .collect(),
            false => read(path),
        };
        (name.to_owned(), text)
    };
    entries
        .map(|entry| module(&entry.expect("a file").path()))
        .filter(|(name, _)| name != "lib")
        .collect()
}

#[test]
fn no_file_is_led_back_to_itself() {
    let modules = modules();
    // Which module a name comes from that `lib.rs` passes on.
    let passed_on = fs::read_to_string(Path::new(SOURCES).join("lib.rs")).expect("readable");
    let mut home = BTreeMap::new();
    for statement in passed_on.split(';') {
        let Some((module, names)) = statement
            .split_once("pub use ")
            .and_then(|(_, path)| path.split_once("::"))
        else {
            continue;
        };
        let names = names.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        home.extend(names.map(|name| (name.to_owned(), module.to_owned())));
    }
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, text) in &modules {
        for name in used(text) {
            let target = home.get(&name).unwrap_or(&name);
            let (target, _) = modules
                .get_key_value(target)
                .unwrap_or_else(|| panic!("{module} uses `{name}`, which is in no file that lib.rs names"));
            if target != module {
                edges.entry(module).or_default().insert(target);
            }
        }
    }
    assert!(edges.len() > 20, "{edges:?}");
    // What uses nothing that is left is no part of a circle.
    loop {
        let left: BTreeSet<&str> = edges.keys().copied().collect();
        edges.retain(|_, uses| uses.iter().any(|module| left.contains(module)));
        if edges.len() == left.len() {
            break;
        }
    }
    assert!(edges.is_empty(), "these use each other in a circle: {edges:?}");
}
