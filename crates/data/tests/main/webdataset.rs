//! Shards as such: indexes that are made once, samples that are read anywhere, and damage of any kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blip2_data::sets::webdataset::{Rules, WebDataset, WebDatasetError};
use blip2_data::sets::{Cache, Dataset, Picture, Severity};
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

struct Place {
    _folder: TempDir,
    shards: PathBuf,
    cache: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (shards, cache) = (folder.path().join("shards"), folder.path().join("cache"));
        fs::create_dir(&shards).expect("a folder");
        Self {
            _folder: folder,
            shards,
            cache,
        }
    }

    fn open(&self) -> WebDataset {
        let path = self.shards.to_str().expect("UTF-8");
        WebDataset::open("some", path, self.cache(), Rules::default()).expect("shards")
    }

    fn cache(&self) -> Cache {
        Cache::new(&self.cache, 1 << 20)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.shards.join(name), bytes).expect("a shard");
    }

    fn kept(&self, ending: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.cache)
            .expect("the cache")
            .map(|entry| entry.expect("a file").path())
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect();
        files.sort();
        files
    }
}

/// A tar of these members.
pub(crate) fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .expect("memory");
    }
    builder.into_inner().expect("memory")
}

/// Samples `PREFIX 0`, ...: the bytes of the "picture" begin with their number, and are `large` more.
pub(crate) fn samples(prefix: &str, count: usize, large: usize) -> Vec<(String, Vec<u8>)> {
    let members = (0..count).flat_map(|number| {
        let mut picture = format!("{prefix} {number}").into_bytes();
        picture.resize(picture.len() + large, 7);
        [
            (format!("{prefix} {number}.jpg"), picture),
            (
                format!("{prefix} {number}.txt"),
                format!("text of {prefix} {number}").into_bytes(),
            ),
        ]
    });
    members.collect()
}

/// Whether picture, text and key of every sample that can be read belong together.
pub(crate) fn belongs_together(set: &WebDataset) -> bool {
    (0..set.len())
        .filter_map(|index| set.read(index).ok())
        .all(|sample| {
            let Picture::Encoded(bytes) = &sample.picture else {
                return false;
            };
            bytes.starts_with(sample.key.as_bytes()) && sample.texts == [format!("text of {}", sample.key)]
        })
}

#[test]
fn a_glob_names_its_shards() {
    let place = Place::new();
    let member = |key: &str| {
        [
            (format!("{key}.png"), vec![1]),
            (format!("{key}.txt"), b"a word".to_vec()),
        ]
    };
    place.write("b.tar", &archive(&member("second")));
    place.write("a.tar", &archive(&member("first")));
    place.write("notes.txt", b"none");
    let open = |pattern: &str| {
        let pattern = place.shards.join(pattern);
        let pattern = pattern.to_str().expect("UTF-8");
        WebDataset::open("some", pattern, place.cache(), Rules::default())
    };
    let set = open("*.tar").expect("shards");
    let keys = [set.key(0), set.key(1)].map(|key| key.expect("a key"));
    assert_eq!((set.len(), keys), (2, ["first", "second"].map(str::to_owned)));
    assert!(matches!(open("*.zip"), Err(WebDatasetError::NoShards(_))));
}

#[test]
fn any_sample_of_any_shard_is_read_alone() {
    let place = Place::new();
    place.write("a.tar", &archive(&samples("a", 5, 0)));
    place.write("b.tar", &archive(&samples("b", 3, 5 << 20)));
    place.write("c.tar", &archive(&[]));
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &archive(&samples("d", 4, 0))).expect("memory");
    place.write("d.tar.gz", &packed.finish().expect("memory"));
    let set = place.open();
    assert_eq!((set.len(), set.runs()), (12, vec![5, 3, 0, 4]));
    assert!(belongs_together(&set));
    let key = |index| set.read(index).map(|sample| sample.key);
    assert_eq!(key(11).expect("the last"), "d 3");
    assert_eq!(key(5).expect("a large one"), "b 0");
    assert_eq!(key(12).expect_err("none").reason, "no_such_sample");
    assert!(set.reports().is_empty());
}

#[test]
fn an_index_is_made_once_and_again_when_the_shard_changes() {
    let place = Place::new();
    place.write("a.tar", &archive(&samples("a", 5, 0)));
    let before = place.open();
    let [index] = &place.kept(".index")[..] else {
        panic!("one index");
    };
    assert_eq!(fs::metadata(index).expect("the index").len(), 80 + 5 * 16 + 2);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let touch = |path: &Path, when| {
        fs::File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(when))
    };
    touch(index, long_ago).expect("a time");
    assert_eq!(place.open().fingerprint(), before.fingerprint());
    let made = || {
        fs::metadata(&place.kept(".index")[0])
            .and_then(|index| index.modified())
            .expect("a time")
    };
    assert_eq!(made(), long_ago);

    // The same size, another time.
    place.write("a.tar", &archive(&samples("b", 5, 0)));
    touch(
        &place.shards.join("a.tar"),
        SystemTime::now() + Duration::from_secs(7),
    )
    .expect("a time");
    let after = place.open();
    assert_ne!(made(), long_ago);
    assert_ne!(after.fingerprint(), before.fingerprint());
    assert_eq!(after.read(0).expect("a sample").key, "b 0");
    // Who opened it before does not read from what it has become.
    assert_eq!(before.read(0).expect_err("it changed").reason, "shard_unreadable");
}

#[test]
fn a_damaged_index_is_made_again() {
    let place = Place::new();
    place.write("a.tar", &archive(&samples("a", 5, 0)));
    place.open();
    let index = &place.kept(".index")[0];
    let whole = fs::read(index).expect("the index");
    for damaged in [&whole[..whole.len() - 1], &whole[..50], &[]] {
        fs::write(index, damaged).expect("the cache");
        assert_eq!(place.open().len(), 5);
    }
    // Places that lead nowhere are noticed when they are followed.
    let mut wrong = whole.clone();
    wrong[80..88].copy_from_slice(&700u64.to_le_bytes());
    wrong[96..104].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(index, wrong).expect("the cache");
    let set = place.open();
    assert!(set.read(0).is_err() && set.read(1).is_err() && belongs_together(&set));
}

#[test]
fn unpacked_shards_make_room_for_each_other() {
    let place = Place::new();
    for name in ["a", "b", "c", "d"] {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &archive(&samples(name, 3, 120_000))).expect("memory");
        place.write(&format!("{name}.tar.gz"), &packed.finish().expect("memory"));
    }
    let set = place.open();
    for _ in 0..2 {
        assert!(belongs_together(&set) && set.len() == 12);
        let held: u64 = place
            .kept(".shard")
            .iter()
            .map(|path| fs::metadata(path).expect("a file").len())
            .sum();
        assert!(held <= 1 << 20, "{held}");
    }
    let small = Cache::new(&place.cache, 100_000);
    let set = WebDataset::open(
        "some",
        place.shards.join("a.tar.gz").to_str().expect("UTF-8"),
        small,
        Rules {
            needs_text: false,
            ..Rules::default()
        },
    );
    let set = set.expect("a report, no error");
    assert_eq!(
        (set.len(), set.reports()[0].reason.as_str()),
        (0, "archive_too_large")
    );
}

#[test]
fn shards_that_are_not_there_are_named() {
    let place = Place::new();
    let open = |path: &str| {
        WebDataset::open(
            "some",
            &format!("{}/{path}", place.shards.display()),
            place.cache(),
            Rules::default(),
        )
    };
    let error = open("{0..1}.tar").err().expect("no shards");
    assert!(
        matches!(error, WebDatasetError::Shard { .. }) && error.to_string().contains("0.tar"),
        "{error}"
    );
    assert!(matches!(open(""), Err(WebDatasetError::NoShards(_))));
    assert!(matches!(open("{1"), Err(WebDatasetError::Braces(_))));
}

#[test]
fn files_with_holes_are_not_taken_for_pictures() {
    let place = Place::new();
    let mut bytes = archive(&samples("a", 2, 0));
    // The first picture becomes GNU's kind of file with holes: what lies in the archive are its pieces.
    bytes[156] = b'S';
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    let old: u32 = bytes[148..156].iter().map(|byte| u32::from(*byte)).sum();
    let checksum = format!("{:06o}\0 ", sum - old + 8 * u32::from(b' '));
    bytes[148..156].copy_from_slice(checksum.as_bytes());
    place.write("a.tar", &bytes);
    let set = place.open();
    assert!(set.len() == 1 && belongs_together(&set));
    let report = &set.reports()[0];
    assert_eq!(
        (report.key.as_deref(), report.reason.as_str()),
        (Some("a 0"), "no_picture")
    );
    assert!(report.problem.contains("member_not_a_file"), "{}", report.problem);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Cut anywhere, with headers changed anywhere: no panic, no hang, and no picture with the text of another.
    #[test]
    fn damage_never_joins_what_does_not_belong_together(
        changes in prop::collection::vec((0usize..6, any::<bool>(), 0usize..512, any::<u8>()), 0..4),
        length in prop::option::of(any::<prop::sample::Index>())
    ) {
        let place = Place::new();
        let mut bytes = archive(&samples("a", 6, 700));
        for (sample, is_text, within, value) in changes {
            // A header and two blocks of picture, a header and a block of text.
            bytes[sample * 5 * 512 + usize::from(is_text) * 3 * 512 + within] = value;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        place.write("a.tar", &bytes);
        let set = place.open();
        prop_assert!(belongs_together(&set) && set.len() <= 6);
        let problems = set.reports().into_iter().filter(|report| report.severity == Severity::File);
        prop_assert!(problems.count() <= 1);
    }
}
