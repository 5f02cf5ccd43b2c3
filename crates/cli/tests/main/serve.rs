//! `blip2 serve`: from its start to its end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blip2_golden::fixture;

/// A server, and where it listens.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(options: &[&str]) -> Self {
        let mut child = command(options).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("{line}"));
        Self {
            address: address.to_owned(),
            child,
        }
    }

    fn get(&self, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blip2"));
    command
        .args(["serve", "--port", "0", "--device", "flex", "--model"])
        .arg(fixture("hf/opt-tiny"))
        .args(options);
    command
}

#[test]
fn it_listens_on_this_machine_and_ends_when_it_is_asked_to() {
    let mut server = Serving::start(&[]);
    assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
    assert!(server.get("/ready", "").starts_with("HTTP/1.1 200"));
    assert!(server.get("/v1/models", "").contains("\"id\":\"opt-tiny\""));
    assert!(server.get("/", "").contains("<title>BLIP-2</title>"));
    let asked = Command::new("kill")
        .arg(server.child.id().to_string())
        .status()
        .unwrap();
    assert!(asked.success());
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn keys_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "first\nsecond\n").unwrap();
    let server = Serving::start(&["--name", "mine", "--api-key-file", file.to_str().unwrap()]);
    assert!(server.get("/v1/models", "").starts_with("HTTP/1.1 401"));
    assert!(
        server
            .get("/v1/models", "Authorization: Bearer third\r\n")
            .starts_with("HTTP/1.1 401")
    );
    assert!(
        server
            .get("/v1/models", "Authorization: Bearer second\r\n")
            .contains("\"id\":\"mine\"")
    );
}

#[test]
fn what_cannot_be_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let (empty, absent) = (empty.to_str().unwrap(), folder.path().join("absent"));
    for (options, code, reason) in [
        (
            &["--no-safety", "--safety-words", empty][..],
            2,
            "cannot be used with",
        ),
        (&["--host", "nowhere"], 2, "invalid value"),
        (&["--api-key-file", absent.to_str().unwrap()], 1, "cannot read"),
        (&["--api-key-file", empty], 1, "one key a line"),
        (&["--safety-words", empty], 1, "category: phrase"),
        (&["--host", "203.0.113.1"], 1, "cannot listen on 203.0.113.1:0"),
    ] {
        let output = command(options).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {said}");
        assert!(said.contains(reason), "{options:?}: {said}");
    }
}
