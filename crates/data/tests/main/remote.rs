//! Shards in an object store: a server on this machine that fails, breaks off and changes its mind.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use blip2_data::sets::webdataset::{Rules, WebDataset};
use blip2_data::sets::{Cache, Dataset};
use md5::Digest;

use crate::webdataset::{archive, belongs_together, samples};

/// What a server does wrong, one request after the other.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// 500.
    Fails,
    /// The connection ends in the middle of the body.
    BreaksOff,
    /// A byte of the body is another.
    Damages,
    /// The body is shorter than the range that it is said to be.
    Shortens,
}

/// How a server answers.
#[derive(Clone)]
struct Habits {
    /// They befall its requests in turn, over and over.
    faults: &'static [Fault],
    /// Behind so many requests all are said to be of another version.
    unchanged: usize,
    /// Whether it knows `If-Match`.
    knows_versions: bool,
    /// Bytes that an object has less when it is asked for as a whole.
    missing: usize,
    /// Lines among the headers of each answer.
    headers: String,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            faults: &[Fault::None],
            unchanged: usize::MAX,
            knows_versions: true,
            missing: 0,
            headers: String::new(),
        }
    }
}

struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `bytes` as every name but those with "gone".
    fn start(bytes: Vec<u8>, habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, bytes, habits) = (requests.clone(), Arc::new(bytes), Arc::new(habits));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (counted, bytes, habits) = (counted.clone(), bytes.clone(), habits.clone());
                thread::spawn(move || {
                    let next = || {
                        let number = counted.fetch_add(1, Ordering::SeqCst);
                        let tag = if number < habits.unchanged {
                            "\"1\""
                        } else {
                            "\"2\""
                        };
                        (habits.faults[number % habits.faults.len()], tag)
                    };
                    let _ = serve(stream.expect("a connection"), &bytes, &habits, next);
                });
            }
        });
        Self { address, requests }
    }

    fn open(&self, name: &str, cache: &Cache) -> Result<WebDataset, String> {
        let address = format!("{}/{name}", self.address);
        WebDataset::open("far", &address, cache.clone(), Rules::default()).map_err(|error| error.to_string())
    }
}

/// Answers the requests of one connection; `next` says what goes wrong, and of which version the bytes are.
fn serve(
    mut stream: TcpStream,
    bytes: &[u8],
    habits: &Habits,
    mut next: impl FnMut() -> (Fault, &'static str),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_lowercase());
        }
        let is_head = lines[0].starts_with("head");
        let header = |name: &str| {
            lines
                .iter()
                .find_map(|line| line.strip_prefix(name).map(str::trim))
        };
        let (fault, tag) = next();
        let (status, piece) = match header("range:").and_then(|range| range.strip_prefix("bytes=")) {
            _ if fault == Fault::Fails => ("500 Internal Server Error".to_owned(), &b""[..]),
            _ if lines[0].contains("gone") => ("404 Not Found".to_owned(), &b""[..]),
            _ if habits.knows_versions && header("if-match:").is_some_and(|wanted| wanted != tag) => {
                ("412 Precondition Failed".to_owned(), &b""[..])
            }
            Some(range) => {
                let (start, end) = range.split_once('-').expect("a range");
                let start: usize = start.parse().expect("a number");
                let end = end
                    .parse::<usize>()
                    .map_or(bytes.len(), |end| end + 1)
                    .min(bytes.len());
                let range = format!(
                    "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
                    end - 1,
                    bytes.len()
                );
                (range, &bytes[start..end])
            }
            None => ("200 OK".to_owned(), &bytes[habits.missing..]),
        };
        let mut piece = piece.to_vec();
        match fault {
            Fault::Damages if !piece.is_empty() => piece[0] ^= 1,
            Fault::Shortens if !is_head => piece.truncate(piece.len() / 2),
            _ => {}
        }
        let (length, further) = (piece.len(), &habits.headers);
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: {tag}\r\nLast-Modified: Tue, 03 Nov 2026 09:00:00 GMT\r\n\
             {further}\r\n"
        )?;
        if !is_head && fault == Fault::BreaksOff {
            stream.write_all(&piece[..length / 2])?;
            return Ok(());
        }
        if !is_head {
            stream.write_all(&piece)?;
        }
    }
}

#[test]
fn a_shard_is_fetched_once_whatever_the_server_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path(), 1 << 30);
    // More than one piece of 8 MiB.
    let bytes = archive(&samples("far", 4, 3 << 20));
    let server = Server::start(
        bytes,
        Habits {
            faults: &[
                Fault::None,
                Fault::Fails,
                Fault::BreaksOff,
                Fault::None,
                Fault::BreaksOff,
            ],
            ..Habits::default()
        },
    );
    let set = server.open("shard.tar", &cache).expect("a shard");
    assert!(set.len() == 4 && belongs_together(&set));
    let before = server.requests.load(Ordering::SeqCst);
    let again = server.open("shard.tar", &cache).expect("a shard");
    assert!(again.len() == 4 && belongs_together(&again));
    assert_eq!(again.fingerprint(), set.fingerprint());
    // Only whether it is still the same was asked: when it was opened, and when it was read.
    let asked = server.requests.load(Ordering::SeqCst) - before;
    assert!(asked <= 8, "{asked} requests");
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path(), 1 << 30);
    let server = Server::start(archive(&samples("far", 1, 0)), Habits::default());
    let error = server.open("gone.tar", &cache).err().expect("no shard");
    assert!(error.contains("gone.tar"), "{error}");
    let error = WebDataset::open("far", "ftp://127.0.0.1/a.tar", cache, Rules::default())
        .err()
        .expect("no store");
    assert!(error.to_string().contains("ftp://127.0.0.1/a.tar"), "{error}");
}

/// Two pieces of 8 MiB, and where they are kept.
fn large() -> (tempfile::TempDir, Cache, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path(), 1 << 30);
    (folder, cache, archive(&samples("far", 4, 3 << 20)))
}

#[test]
fn pieces_of_two_versions_are_never_joined() {
    for knows_versions in [true, false] {
        let (_folder, cache, bytes) = large();
        // Asked for twice what it is, then for its first piece; the second piece is of another version.
        let habits = Habits {
            unchanged: 3,
            knows_versions,
            ..Habits::default()
        };
        let server = Server::start(bytes, habits);
        let error = server.open("shard.tar", &cache).err().expect("it changed");
        assert!(
            error.contains("shard.tar") && error.contains("another version"),
            "{error}"
        );
        assert_eq!(server.requests.load(Ordering::SeqCst), 4, "{error}");
        assert!(
            server
                .open("shard.tar", &cache)
                .is_ok_and(|set| belongs_together(&set))
        );
    }
}

#[test]
fn lengths_that_are_not_what_was_said_are_errors() {
    let short = Habits {
        faults: &[Fault::Shortens],
        ..Habits::default()
    };
    let other = Habits {
        missing: 512,
        ..Habits::default()
    };
    for (habits, why) in [
        (short, "4194304 of 8388608 bytes came"),
        (other, "another version"),
    ] {
        let (_folder, cache, bytes) = large();
        let server = Server::start(bytes, habits);
        let error = server.open("shard.tar", &cache).err().expect("a wrong length");
        assert!(error.contains("shard.tar") && error.contains(why), "{error}");
    }
}

#[test]
fn bytes_are_those_that_the_store_speaks_of() {
    let bytes = archive(&samples("far", 2, 0));
    let md5 = BASE64_STANDARD.encode(md5::Md5::digest(&bytes));
    let sha256 = BASE64_STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    let crc32c = BASE64_STANDARD.encode(crc32c::crc32c(&bytes).to_be_bytes());
    for headers in [
        format!("Content-MD5: {md5}\r\n"),
        format!("x-amz-checksum-sha256: {sha256}\r\n"),
        format!("x-amz-checksum-crc32c: {crc32c}\r\n"),
        format!("x-goog-hash: crc32c={crc32c}\r\nx-goog-hash: md5={md5}\r\n"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::new(folder.path(), 1 << 30);
        let mut habits = Habits {
            faults: &[Fault::Damages],
            headers,
            ..Habits::default()
        };
        let server = Server::start(bytes.clone(), habits.clone());
        let error = server.open("shard.tar", &cache).err().expect("damage");
        assert!(
            error.contains("shard.tar") && error.contains("damaged on its way"),
            "{error}"
        );
        habits.faults = &[Fault::None];
        let server = Server::start(bytes.clone(), habits);
        assert!(
            server
                .open("shard.tar", &cache)
                .is_ok_and(|set| belongs_together(&set))
        );
    }
}
