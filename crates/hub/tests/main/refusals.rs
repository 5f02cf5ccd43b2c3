//! What goes wrong, and what is said of it.

use std::fs::{self, File};
use std::time::Duration;

use blip2_hub::{DownloadError, Hub};

use crate::fetch::{Bench, bytes, model};
use crate::server::{COMMIT, MODEL, Manners, Served};

const WEIGHTS: &str = "model.safetensors";

/// The error of `bench`, which must say each of `parts`, and leave no snapshot.
fn refused(bench: &Bench, hub: &Hub, revision: Option<&str>, parts: &[&str]) -> DownloadError {
    let error = hub.fetch(MODEL, revision, &mut |_| ()).unwrap_err();
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not said: {message}");
    }
    assert!(!bench.folder().join("snapshots").exists(), "{message}");
    error
}

#[test]
fn refusals_are_told_apart() {
    let (token, consent) = (Some("secret".to_owned()), &["licence", "HF_TOKEN", MODEL][..]);
    for (refusal, token, parts) in [
        ("401 Unauthorized\r\n", None, consent),
        (
            "401 Unauthorized\r\nX-Error-Code: RepoNotFound\r\n",
            None,
            &["check the name", "HF_TOKEN"],
        ),
        (
            "401 Unauthorized\r\n",
            token,
            &["refuses the token", "HF_TOKEN", "licence"],
        ),
        ("401 Unauthorized\r\nX-Error-Code: GatedRepo\r\n", None, consent),
        ("403 Forbidden\r\nX-Error-Code: GatedRepo\r\n", None, consent),
        ("403 Forbidden\r\n", None, consent),
        (
            "404 Not Found\r\nX-Error-Code: RepoNotFound\r\n",
            None,
            &["no model tests/tiny", "`main`"],
        ),
        ("404 Not Found\r\n", None, &["no model tests/tiny", "`main`"]),
        (
            "404 Not Found\r\nX-Error-Code: RevisionNotFound\r\n",
            None,
            &["no revision `main`", MODEL],
        ),
        (
            "500 Internal Server Error\r\n",
            None,
            &[
                "500 Internal Server Error",
                "/api/models/tests/tiny/revision/main",
            ],
        ),
        (
            "451 Unavailable For Legal Reasons\r\nX-Error-Message: gone\r\n",
            None,
            &["451 gone"],
        ),
        (
            "200 OK\r\n",
            None,
            &["does not answer as a hub does", "HF_ENDPOINT"],
        ),
        (
            "302 Found\r\nLocation: /again\r\n",
            None,
            &["from redirect to redirect"],
        ),
    ] {
        let bench = Bench::new(Manners {
            refusal: Some(refusal),
            ..model()
        });
        refused(
            &bench,
            &Hub {
                token,
                ..bench.hub.clone()
            },
            None,
            parts,
        );
    }
    let bench = Bench::new(model());
    refused(&bench, &bench.hub, Some("v2.0"), &["no revision `v2.0`", MODEL]);
    refused(&bench, &bench.hub, Some("../main"), &["no revision `../main`"]);
    let error = bench.hub.fetch("tiny", None, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("OWNER/NAME"), "{error}");
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let bench = Bench::new(model());
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let hub = Hub {
        endpoint: format!("http://127.0.0.1:{port}"),
        ..bench.hub.clone()
    };
    refused(
        &bench,
        &hub,
        None,
        &[&format!("127.0.0.1:{port} cannot be reached"), "HF_ENDPOINT"],
    );
}

#[test]
fn offline_only_the_cache_answers() {
    let bench = Bench::new(model());
    let hub = Hub {
        offline: true,
        ..bench.hub.clone()
    };
    refused(&bench, &hub, None, &["HF_HUB_OFFLINE"]);
    assert_eq!(bench.server.asked(), []);
    bench.fetch().unwrap();
    bench.server.asked();
    bench.assert_whole(&hub.fetch(MODEL, None, &mut |_| ()).unwrap());
    bench.assert_whole(&hub.fetch(MODEL, Some(COMMIT), &mut |_| ()).unwrap());
    assert_eq!(bench.server.asked(), []);
}

#[test]
fn a_file_of_another_size_is_removed() {
    for (announced, no_length) in [
        (299_999, false),
        (299_999, true),
        (300_001, false),
        (1_000_000, false),
    ] {
        let mut manners = model();
        let weights = manners.files.get_mut(WEIGHTS).unwrap();
        (weights.announced_size, weights.no_length) = (Some(announced), no_length);
        let bench = Bench::new(manners);
        let error = refused(
            &bench,
            &bench.hub,
            None,
            &[WEIGHTS, &announced.to_string(), "300000", "removed"],
        );
        assert!(matches!(error, DownloadError::WrongSize { .. }));
        assert!(!bench.partial(WEIGHTS).exists() && !bench.blob(WEIGHTS).exists());
    }
}

#[test]
fn a_file_of_another_content_is_removed_and_fetched_anew() {
    let mut manners = model();
    let truth = manners.files[WEIGHTS].clone();
    manners.files.get_mut(WEIGHTS).unwrap().announced_etag = Some("ab".repeat(32));
    let bench = Bench::new(manners);
    let error = refused(
        &bench,
        &bench.hub,
        None,
        &[WEIGHTS, &"ab".repeat(32), &truth.etag(), "removed"],
    );
    assert!(matches!(error, DownloadError::WrongHash { .. }));
    assert!(!bench.partial(WEIGHTS).exists() && !bench.blob(WEIGHTS).exists());
    // So is what an earlier attempt left, where it began otherwise.
    bench
        .server
        .change(|manners| manners.files.get_mut(WEIGHTS).unwrap().announced_etag = None);
    fs::write(bench.partial(WEIGHTS), [7; 1000]).unwrap();
    refused(&bench, &bench.hub, None, &[WEIGHTS, "fetches it anew"]);
    bench.assert_whole(&bench.fetch().unwrap());
}

#[test]
fn a_repository_without_a_model_is_told_of_before_anything_is_fetched() {
    for (missing, parts) in [
        ("config.json", ["`config.json`", "README.md"]),
        ("", ["weights", "config.json"]),
    ] {
        let mut manners = model();
        manners
            .files
            .retain(|name, _| name != missing && (missing == "config.json" || !name.contains("model")));
        let bench = Bench::new(manners);
        refused(&bench, &bench.hub, None, &parts);
        assert_eq!(bench.server.asked().len(), 1);
    }
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let mut manners = model();
    manners
        .files
        .insert("../../evil.json".to_owned(), Served::small("x"));
    let bench = Bench::new(manners);
    refused(&bench, &bench.hub, None, &["`../../evil.json`"]);
    let mut manners = model();
    manners.files.get_mut(WEIGHTS).unwrap().announced_etag = Some("../../evil".to_owned());
    let bench = Bench::new(manners);
    refused(&bench, &bench.hub, None, &["no usable ETag", WEIGHTS]);
}

#[test]
fn a_lock_under_which_nothing_happens_is_named() {
    let bench = Bench::new(model());
    let name = bench.blob("config.json").file_name().unwrap().to_owned();
    let lock = bench
        .cache
        .path()
        .join(".locks/models--tests--tiny")
        .join(name)
        .with_extension("lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = File::create(&lock).unwrap();
    held.lock().unwrap();
    let error = refused(
        &bench,
        &bench.hub,
        None,
        &["config.json", &lock.display().to_string(), "another process"],
    );
    assert!(matches!(error, DownloadError::Locked { .. }));
    held.unlock().unwrap();
    bench.assert_whole(&bench.fetch().unwrap());
}

#[test]
fn a_transfer_that_brings_nothing_counts_as_broken() {
    let mut manners = model();
    manners.files.get_mut(WEIGHTS).unwrap().delay = Duration::from_secs(3);
    let bench = Bench::new(manners);
    let hub = Hub {
        silence: Duration::from_millis(100),
        ..bench.hub.clone()
    };
    let error = refused(&bench, &hub, None, &[]);
    assert!(
        matches!(
            error,
            DownloadError::Broken { .. } | DownloadError::Unreachable { .. }
        ),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_of() {
    let mut manners = model();
    manners.files.insert(
        WEIGHTS.to_owned(),
        Served {
            announced_size: Some(1 << 62),
            ..Served::large(bytes(10))
        },
    );
    let bench = Bench::new(manners);
    refused(
        &bench,
        &bench.hub,
        None,
        &["no room", "bytes are still to come, ", "are free"],
    );

    let bench = Bench::new(model());
    fs::create_dir_all(bench.folder().join("blobs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", bench.partial("config.json")).unwrap();
    refused(
        &bench,
        &bench.hub,
        None,
        &["no room", "2 bytes are still to come", "goes on from there"],
    );
}
