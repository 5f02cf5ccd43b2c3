//! What comes into the cache, and how.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blip2_hub::{DownloadError, Event, Hub};
use tempfile::TempDir;

use crate::server::{Asked, COMMIT, MODEL, Manners, Served, Server};

const WEIGHTS: &str = "model.safetensors";

/// Bytes that no two places have alike.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|place| (place * place / 7 + place) as u8)
        .collect()
}

/// A model in one file of weights, beside what nobody needs.
pub(crate) fn model() -> Manners {
    let files = [
        ("config.json", Served::small("{}")),
        ("tokenizer.json", Served::small(bytes(3000))),
        ("qformer_tokenizer/vocab.txt", Served::small("[PAD]")),
        (WEIGHTS, Served::large(bytes(300_000))),
        ("pytorch_model.bin", Served::large(bytes(200_000))),
        ("README.md", Served::small("# about")),
    ];
    Manners {
        files: files
            .into_iter()
            .map(|(name, served)| (name.to_owned(), served))
            .collect(),
        ..Manners::default()
    }
}

pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) hub: Hub,
    pub(crate) cache: TempDir,
}

impl Bench {
    pub(crate) fn new(manners: Manners) -> Self {
        let (server, cache) = (Server::start(manners), tempfile::tempdir().unwrap());
        let hub = Hub {
            endpoint: server.endpoint(),
            token: None,
            offline: false,
            cache: cache.path().to_owned(),
            silence: Duration::from_secs(5),
            patience: Duration::from_millis(300),
            first_pause: Duration::ZERO,
        };
        Self { server, hub, cache }
    }

    pub(crate) fn fetch(&self) -> Result<PathBuf, DownloadError> {
        self.hub.fetch(MODEL, None, &mut |_| ())
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.cache.path().join("models--tests--tiny")
    }

    pub(crate) fn blob(&self, file: &str) -> PathBuf {
        let mut etag = String::new();
        self.server.change(|manners| etag = manners.files[file].etag());
        self.folder().join("blobs").join(etag)
    }

    pub(crate) fn partial(&self, file: &str) -> PathBuf {
        let mut path = self.blob(file).into_os_string();
        path.push(".incomplete");
        path.into()
    }

    /// The transfers of the weights: where each began.
    pub(crate) fn transfers(&self) -> Vec<Option<String>> {
        let asked = self.server.asked().into_iter();
        let of_weights =
            |asked: &Asked| asked.path.starts_with("/cdn/") && asked.range.as_deref() != Some("bytes=0-0");
        asked.filter(of_weights).map(|asked| asked.range).collect()
    }

    pub(crate) fn assert_whole(&self, snapshot: &Path) {
        for file in files_below(snapshot) {
            let mut expected = Vec::new();
            self.server
                .change(|manners| expected = manners.files[&file].content.clone());
            assert!(
                fs::read(snapshot.join(&file)).unwrap() == expected,
                "{file} has other content"
            );
        }
        assert!(snapshot.join(WEIGHTS).is_file() && snapshot.join("config.json").is_file());
    }
}

/// Names of all files below `folder`, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path().strip_prefix(folder).unwrap().display().to_string()),
            }
        }
    }
    files.sort();
    files
}

#[test]
fn what_is_needed_lies_in_the_cache_as_the_reference_lays_it() {
    let bench = Bench::new(model());
    let snapshot = bench.fetch().unwrap();
    assert_eq!(snapshot, bench.folder().join("snapshots").join(COMMIT));
    assert_eq!(
        files_below(&snapshot),
        [
            "config.json",
            WEIGHTS,
            "qformer_tokenizer/vocab.txt",
            "tokenizer.json"
        ]
    );
    bench.assert_whole(&snapshot);
    let blob = bench.blob(WEIGHTS).file_name().unwrap().to_owned();
    assert_eq!(
        fs::read_link(snapshot.join(WEIGHTS)).unwrap(),
        Path::new("../../blobs").join(&blob)
    );
    let nested = snapshot.join("qformer_tokenizer/vocab.txt");
    assert!(fs::read_link(nested).unwrap().starts_with("../../../blobs"));
    assert_eq!(
        fs::read_to_string(bench.folder().join("refs/main")).unwrap(),
        COMMIT
    );
    let blobs = files_below(&bench.folder().join("blobs"));
    assert!(
        blobs.len() == 4 && blobs.iter().all(|blob| !blob.contains('.')),
        "{blobs:?}"
    );
}

#[test]
fn what_is_there_is_asked_for_once() {
    let bench = Bench::new(model());
    bench.fetch().unwrap();
    bench.server.asked();
    bench.fetch().unwrap();
    let asked = bench.server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    // A lost link is laid again, without its file being fetched.
    fs::remove_file(bench.folder().join("snapshots").join(COMMIT).join(WEIGHTS)).unwrap();
    bench.assert_whole(&bench.fetch().unwrap());
    assert_eq!(bench.transfers(), []);
}

#[test]
fn a_revision_is_noted_by_its_name_and_not_by_its_hash() {
    let bench = Bench::new(model());
    for revision in ["v1.0", "refs/pr/1", COMMIT] {
        let snapshot = bench.hub.fetch(MODEL, Some(revision), &mut |_| ()).unwrap();
        bench.assert_whole(&snapshot);
    }
    assert_eq!(files_below(&bench.folder().join("refs")), ["refs/pr/1", "v1.0"]);
}

#[test]
fn only_the_shards_of_the_index_are_fetched() {
    let mut manners = model();
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    manners.files.remove(WEIGHTS);
    for (name, served) in [
        ("model.safetensors.index.json", Served::small(index)),
        ("model-1.safetensors", Served::large(bytes(1000))),
        ("model-2.safetensors", Served::large(bytes(2000))),
        ("model-3.safetensors", Served::large(bytes(4000))),
    ] {
        manners.files.insert(name.to_owned(), served);
    }
    let bench = Bench::new(manners);
    let (mut total, mut last) = (0, 0);
    let snapshot = bench.hub.fetch(MODEL, None, &mut |event| match event {
        Event::Total(bytes) => total = bytes,
        Event::Position(position) => last = position,
        _ => {}
    });
    let files = files_below(&snapshot.unwrap());
    assert!(
        files.contains(&"model-2.safetensors".to_owned())
            && !files.contains(&"model-3.safetensors".to_owned())
    );
    assert!(!files.contains(&"pytorch_model.bin".to_owned()), "{files:?}");
    assert_eq!(total, 2 + 3000 + 5 + index.len() as u64 + 3000);
    assert_eq!(last, total);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    for no_length in [false, true] {
        let mut manners = model();
        let weights = manners.files.get_mut(WEIGHTS).unwrap();
        (weights.breaks, weights.share, weights.no_length) = (2, 0.5, no_length);
        let bench = Bench::new(manners);
        let mut retries = 0;
        let snapshot = bench.hub.fetch(MODEL, None, &mut |event| {
            retries += usize::from(matches!(event, Event::Retrying(DownloadError::Broken { .. }, _)));
        });
        bench.assert_whole(&snapshot.unwrap());
        assert_eq!(retries, 2);
        let starts = bench.transfers();
        let expected = [None, Some("bytes=150000-"), Some("bytes=225000-")];
        assert_eq!(starts, expected.map(|start| start.map(str::to_owned)));
    }
}

#[test]
fn a_transfer_that_breaks_for_ever_is_told_of_and_gone_on_with_by_the_next_run() {
    let mut manners = model();
    let weights = manners.files.get_mut(WEIGHTS).unwrap();
    (weights.breaks, weights.share) = (1, 0.4);
    let bench = Bench::new(manners);
    let error = bench.hub.fetch(MODEL, None, &mut |event| {
        if let Event::Retrying(..) = event {
            // From here on nothing more comes.
            bench.server.change(|manners| {
                let weights = manners.files.get_mut(WEIGHTS).unwrap();
                (weights.breaks, weights.share) = (100, 0.0);
            });
        }
    });
    let error = error.unwrap_err();
    let message = error.to_string();
    assert!(
        matches!(
            error,
            DownloadError::Broken {
                position: 120_000,
                size: 300_000,
                ..
            }
        ),
        "{message}"
    );
    assert!(
        message.contains(WEIGHTS) && message.contains("goes on from"),
        "{message}"
    );
    assert!(!bench.folder().join("snapshots").exists() && !bench.folder().join("refs").exists());
    bench.transfers();
    bench
        .server
        .change(|manners| manners.files.get_mut(WEIGHTS).unwrap().breaks = 0);
    bench.assert_whole(&bench.fetch().unwrap());
    assert_eq!(bench.transfers(), [Some("bytes=120000-".to_owned())]);
}

#[test]
fn what_an_earlier_attempt_left_is_only_as_good_as_it_is() {
    for (left, always_whole, starts) in [
        (bytes(300_000), false, &[][..]),
        (bytes(300_001), false, &[None]),
        (bytes(1000), true, &[Some("bytes=1000-")]),
        (bytes(299_999), false, &[Some("bytes=299999-")]),
    ] {
        let mut manners = model();
        manners.files.get_mut(WEIGHTS).unwrap().always_whole = always_whole;
        let bench = Bench::new(manners);
        fs::create_dir_all(bench.folder().join("blobs")).unwrap();
        fs::write(bench.partial(WEIGHTS), left).unwrap();
        bench.assert_whole(&bench.fetch().unwrap());
        let starts: Vec<_> = starts.iter().map(|start| start.map(str::to_owned)).collect();
        assert_eq!(bench.transfers(), starts);
    }
}

#[test]
fn a_blob_of_the_wrong_length_is_fetched_anew() {
    let bench = Bench::new(model());
    fs::create_dir_all(bench.folder().join("blobs")).unwrap();
    fs::write(bench.blob(WEIGHTS), "cut off").unwrap();
    bench.assert_whole(&bench.fetch().unwrap());
}

#[test]
fn the_token_reaches_the_hub_and_nobody_else() {
    for relative in [false, true] {
        let bench = Bench::new(Manners {
            token: Some("secret"),
            relative,
            ..model()
        });
        let error = bench.fetch().unwrap_err();
        assert!(matches!(error, DownloadError::Unknown { .. }), "{error}");
        let hub = Hub {
            token: Some("secret".to_owned()),
            ..bench.hub.clone()
        };
        bench.server.asked();
        hub.fetch(MODEL, None, &mut |_| ()).unwrap();
        for asked in bench.server.asked() {
            let own = asked.host.starts_with("127.0.0.1");
            assert_eq!(asked.token.is_some(), own, "{asked:?}");
            assert!(own || !relative);
        }
    }
}

#[test]
fn two_at_once_fetch_each_file_once() {
    let mut manners = model();
    manners.files.get_mut(WEIGHTS).unwrap().delay = Duration::from_millis(50);
    let bench = Bench::new(manners);
    let patient = Hub {
        patience: Duration::from_secs(30),
        ..bench.hub.clone()
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| bench.assert_whole(&patient.fetch(MODEL, None, &mut |_| ()).unwrap()));
        }
    });
    assert_eq!(bench.transfers(), [None]);
}

#[test]
fn a_hub_that_is_busy_for_a_while_is_asked_again() {
    let bench = Bench::new(Manners { busy: 3, ..model() });
    bench.assert_whole(&bench.fetch().unwrap());
}
