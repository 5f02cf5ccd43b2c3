//! Names on the hub: revisions in the cache, and the variables that say where it is.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use blip2_golden::fixture;

use crate::support::stderr;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Whatever a user's own environment says of the hub.
const VARIABLES: [&str; 4] = [
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HOME",
    "XDG_CACHE_HOME",
];

/// Puts `tests/tiny` into the cache `cache`, as the snapshot that `revision` names.
fn keep(cache: &Path, revision: &str) {
    let repository = cache.join("models--tests--tiny");
    let (notes, snapshot) = (repository.join("refs"), repository.join("snapshots").join(COMMIT));
    fs::create_dir_all(&notes).unwrap();
    fs::write(notes.join(revision), COMMIT).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for entry in fs::read_dir(fixture("hf/opt-tiny")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), snapshot.join(entry.file_name())).unwrap();
    }
}

/// `blip2` where the user's folder is `home`, with nothing but `variables` said of the hub.
pub(crate) fn command(home: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command
        .args(arguments)
        .current_dir(home)
        .env("HOME", home)
        .envs(variables.iter().copied())
        .env_remove("RUST_LOG");
    command
}

pub(crate) fn run(home: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(home, variables, arguments).output().unwrap()
}

fn assert_lists(output: &Output) {
    let listing = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", stderr(output));
    assert!(listing.contains("language_projection.weight"), "{listing}");
}

#[test]
fn the_cache_is_found_by_every_variable_that_names_it() {
    for (place, variables) in [
        (".cache/huggingface/hub", &[] as &[_]),
        ("x/huggingface/hub", &[("XDG_CACHE_HOME", "~/x")]),
        (".hf/hub", &[("HF_HOME", "~/.hf")]),
        ("old", &[("HUGGINGFACE_HUB_CACHE", "~/old"), ("HF_HOME", "~/.hf")]),
        (
            "new",
            &[("HF_HUB_CACHE", "$HOME/new"), ("HUGGINGFACE_HUB_CACHE", "~/old")],
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        keep(&home.path().join(place), "main");
        assert_lists(&run(home.path(), variables, &["inspect", "tests/tiny"]));
    }
}

#[test]
fn a_revision_is_given_by_name_or_hash() {
    let home = tempfile::tempdir().unwrap();
    keep(&home.path().join(".cache/huggingface/hub"), "v1.0");
    let picture = fixture("hf/opt-tiny/image0.png").display().to_string();
    let caption = |model: &str, revision: &[&str]| {
        let command = [
            "caption",
            "--model",
            model,
            &picture,
            "--max-new-tokens",
            "4",
            "--json",
        ];
        run(home.path(), &[], &[&command[..], revision].concat())
    };
    let given = fixture("hf/opt-tiny").display().to_string();
    let expected = caption(&given, &[]);
    assert!(expected.status.success(), "{}", stderr(&expected));
    for revision in ["v1.0", COMMIT] {
        let found = caption("tests/tiny", &["--revision", revision]);
        assert_eq!(found.stdout, expected.stdout, "{revision}: {}", stderr(&found));
        assert_lists(&run(
            home.path(),
            &[],
            &["inspect", "tests/tiny", "--revision", revision],
        ));
    }
    for (model, revision, said) in [
        (
            "tests/tiny",
            &[][..],
            &["revision `main`", "it holds v1.0", COMMIT][..],
        ),
        (
            "tests/tiny",
            &["--revision", "0123456"],
            &["revision `0123456`", "it holds v1.0"],
        ),
        (
            &given,
            &["--revision", "v1.0"],
            &["opt-tiny", "is a path", "`v1.0`"],
        ),
    ] {
        let output = caption(model, revision);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        for words in said {
            assert!(
                stderr(&output).contains(words),
                "`{words}` is not said: {}",
                stderr(&output)
            );
        }
    }
}
