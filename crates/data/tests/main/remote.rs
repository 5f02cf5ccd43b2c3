//! Shards in an object store: a server on this machine that fails, breaks off and changes its mind.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blip2_data::sets::webdataset::{Rules, WebDataset};
use blip2_data::sets::{Cache, Dataset};

use crate::webdataset::{archive, belongs_together, samples};

/// What a server does wrong, one request after the other.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// 500.
    Fails,
    /// The connection ends in the middle of the body.
    BreaksOff,
}

struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `bytes` as every name but those with "gone"; `faults` befall its requests in turn, over and over. Behind
    /// `unchanged` requests all are said to be of another version.
    fn start(bytes: Vec<u8>, faults: &'static [Fault], unchanged: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, bytes) = (requests.clone(), Arc::new(bytes));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (counted, bytes) = (counted.clone(), bytes.clone());
                thread::spawn(move || {
                    let next = || {
                        let number = counted.fetch_add(1, Ordering::SeqCst);
                        (
                            faults[number % faults.len()],
                            if number < unchanged { "\"1\"" } else { "\"2\"" },
                        )
                    };
                    let _ = serve(stream.expect("a connection"), &bytes, next);
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
            _ if header("if-match:").is_some_and(|wanted| wanted != tag) => {
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
            None => ("200 OK".to_owned(), bytes),
        };
        let length = piece.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: {tag}\r\nLast-Modified: Tue, 03 Nov 2026 09:00:00 GMT\r\n\r\n"
        )?;
        if !is_head && fault == Fault::BreaksOff {
            stream.write_all(&piece[..length / 2])?;
            return Ok(());
        }
        if !is_head {
            stream.write_all(piece)?;
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
        &[
            Fault::None,
            Fault::Fails,
            Fault::BreaksOff,
            Fault::None,
            Fault::BreaksOff,
        ],
        usize::MAX,
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
    let server = Server::start(archive(&samples("far", 1, 0)), &[Fault::None], usize::MAX);
    let error = server.open("gone.tar", &cache).err().expect("no shard");
    assert!(error.contains("gone.tar"), "{error}");
    let error = WebDataset::open("far", "ftp://127.0.0.1/a.tar", cache, Rules::default())
        .err()
        .expect("no store");
    assert!(error.to_string().contains("ftp://127.0.0.1/a.tar"), "{error}");
}

#[test]
fn pieces_of_two_versions_are_never_joined() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::new(folder.path(), 1 << 30);
    // Asked for twice what it is, then for its first piece; the second piece is of another version.
    let server = Server::start(archive(&samples("far", 4, 3 << 20)), &[Fault::None], 3);
    let error = server.open("shard.tar", &cache).err().expect("it changed");
    assert!(
        error.contains("shard.tar") && server.requests.load(Ordering::SeqCst) == 4,
        "{error}"
    );
    assert!(
        server
            .open("shard.tar", &cache)
            .is_ok_and(|set| belongs_together(&set))
    );
}
