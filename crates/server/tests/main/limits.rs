//! Keys, limits, and what is no request at all.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use blip2_server::{Keys, Limits};
use serde_json::{Value, json};

use crate::support::{OPT, PATIENCE, RETRIEVAL, Running, T5, chat, data_url};

const PATH: &str = "/v1/chat/completions";

/// A server whose model goes round in circles, as long as one lets it.
fn endless(change: impl FnOnce(&mut Limits)) -> Running {
    Running::new(T5, |options| {
        options.limits.tokens = 100_000;
        change(&mut options.limits);
    })
}

/// An answer that takes long.
fn long() -> Value {
    let mut body = chat("what is it?");
    body["max_tokens"] = json!(50_000);
    body["stream"] = json!(true);
    body
}

#[test]
fn malformed_json_is_told_of() {
    let server = Running::new(OPT, |_| {});
    let deep = "[".repeat(100_000);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("null", 400),
        ("[]", 400),
        ("{\"model\": \"small\"} trailing", 400),
        (deep.as_str(), 400),
        (
            "{\"model\": \"small\", \"messages\": [{\"role\": \"user\", \"content\": \"\u{1}\"}]}",
            400,
        ),
        ("\"\\ud800\"", 400),
    ] {
        let (found, answer) = server.post_bytes(PATH, body.as_bytes());
        assert_eq!(found, status, "{answer}");
        assert_eq!(answer["error"]["type"], "invalid_request_error");
    }
    let (status, answer) = server.post_bytes(PATH, b"\xff\xfe{}");
    assert_eq!(status, 400, "{answer}");
    let kind = [("Content-Type", "text/plain")];
    let (status, ..) = server.request("POST", PATH, &kind, chat("?").to_string().as_bytes());
    assert_eq!(status, 415);
}

#[test]
fn large_requests_and_long_texts_are_refused() {
    let server = Running::new(OPT, |options| options.limits.body = 100_000);
    assert_eq!(
        server.refused(PATH, &chat(&"a".repeat(200_000))),
        (413, "too_large".to_owned())
    );
    let server = Running::new(OPT, |options| options.limits.characters = 1000);
    assert_eq!(server.refused(PATH, &chat(&"a".repeat(1001))).0, 400);
    // What fits the limits, but not the model.
    let server = Running::new(OPT, |_| {});
    let (status, answer) = server.post(PATH, &chat(&"what ".repeat(3000)));
    let error = &answer["error"];
    assert_eq!(
        (status, &error["code"], &error["param"]),
        (400, &json!("context_length_exceeded"), &json!("messages"))
    );
}

#[test]
fn only_keys_let_in() {
    let server = Running::new(OPT, |options| options.keys = Some(Keys::new(["secret", "other"])));
    let ask =
        |headers: &[(&str, &str)]| server.request("POST", PATH, headers, chat("?").to_string().as_bytes());
    for (header, status) in [
        ("Bearer secret", 200),
        ("Bearer other", 200),
        ("Bearer secre", 401),
        ("Bearer ", 401),
        ("secret", 401),
        ("Basic secret", 401),
    ] {
        let (found, _, body) = ask(&[("Authorization", header)]);
        assert_eq!(found, status, "{header}");
        assert!(status == 200 || body.contains("invalid_api_key"), "{body}");
    }
    assert_eq!(ask(&[]).0, 401);
    assert_eq!(server.get("/v1/models").0, 401);
    for open in ["/", "/health", "/ready", "/metrics", "/openapi.json"] {
        assert_eq!(server.get(open).0, 200, "{open}");
    }
}

#[test]
fn pages_that_have_their_name_lead_here_are_refused() {
    let server = Running::new(OPT, |options| options.hosts = vec!["my.machine".to_owned()]);
    let ask = |host: &str, path: &str| server.request("GET", path, &[("Host", host)], b"");
    for (host, status) in [
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("my.machine", 200),
    ] {
        for path in ["/", "/v1/models", "/health", "/openapi.json"] {
            let (found, _, body) = ask(host, path);
            assert_eq!(found, status, "{host} {path}");
            assert!(
                status == 200 || body.contains("\"unknown_host\"") && body.contains("--allow-host"),
                "{body}"
            );
        }
    }
    let body = chat("?").to_string();
    assert_eq!(
        server
            .request("POST", PATH, &[("Host", "evil.example")], body.as_bytes())
            .0,
        403
    );
    // Who has a key is no foreign page.
    let server = Running::new(OPT, |options| options.keys = Some(Keys::new(["secret"])));
    let headers = [("Host", "evil.example"), ("Authorization", "Bearer secret")];
    assert_eq!(server.request("POST", PATH, &headers, body.as_bytes()).0, 200);
}

#[test]
fn there_is_nothing_elsewhere() {
    let server = Running::new(OPT, |_| {});
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/page/nothing.js", 404),
        ("GET", "/page/..%2fCargo.toml", 404),
        ("GET", PATH, 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/models/small", 200),
    ] {
        assert_eq!(
            server.request(method, path, &[], b"").0,
            status,
            "{method} {path}"
        );
    }
    let (_, figures) = server.get("/metrics");
    assert!(
        figures.contains("route=\"elsewhere\",status=\"404\""),
        "{figures}"
    );
    assert!(!figures.contains("nowhere"));
}

#[test]
fn who_sends_slowly_is_not_waited_for() {
    let server = Running::new(OPT, |options| options.limits.sending = Duration::from_millis(300));
    let mut stream = server.begin("POST", PATH, &[], b"");
    drop(stream);
    let body = chat("?").to_string();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    // Half of the body, then nothing.
    stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..body.len() / 2]).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    // Half of the head, then nothing: the connection is closed.
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&head.as_bytes()[..20]).unwrap();
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(started.elapsed() < PATIENCE / 2);
}

#[test]
fn who_does_not_read_is_not_waited_for() {
    let server = Running::new(OPT, |options| options.limits.reading = Duration::from_millis(300));
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // Answers fill all buffers in between; then nothing goes on in either direction, until the server ends it.
    let asked = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let error = loop {
        if let Err(error) = stream.write_all(asked.as_bytes()) {
            break error;
        }
    };
    assert!(
        !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    assert_eq!(server.get("/health").0, 200);
}

#[test]
fn clients_that_vanish_free_their_rows() {
    let server = endless(|_| {});
    let gone: Vec<_> = (0..4)
        .map(|_| server.begin("POST", PATH, &[], long().to_string().as_bytes()))
        .collect();
    server.wait_for("blip2_rows", 4.0);
    drop(gone);
    server.wait_for("blip2_rows", 0.0);
    server.wait_for("blip2_serving", 0.0);
    // The same where nothing is sent before all is written.
    let mut whole = long();
    whole["stream"] = json!(false);
    let gone = server.begin("POST", PATH, &[], whole.to_string().as_bytes());
    server.wait_for("blip2_rows", 1.0);
    drop(gone);
    server.wait_for("blip2_rows", 0.0);
    server.ask(PATH, &chat("are you there?"));
}

#[test]
fn nobody_is_matched_for_who_left() {
    let server = Running::new(RETRIEVAL, |options| options.limits.texts = 100_000);
    // More batches than anybody waits for.
    let texts: Vec<String> = (0..20_000).map(|number| format!("{number}")).collect();
    let body = json!({"image": data_url(1), "texts": texts}).to_string();
    let gone = server.begin("POST", "/v1/match", &[], body.as_bytes());
    server.wait_for("blip2_serving", 1.0);
    // It has begun.
    thread::sleep(Duration::from_millis(300));
    drop(gone);
    server.wait_for("blip2_given_up_total", 1.0);
    server.wait_for("blip2_serving", 0.0);
    server.ask("/v1/match", &json!({"image": data_url(1), "texts": ["a cat"]}));
    assert_eq!(server.figure("blip2_given_up_total"), 1.0);
}

#[test]
fn a_full_queue_and_a_greedy_client_are_told_to_come_back() {
    let server = endless(|limits| {
        limits.requests = 2;
        limits.rows = 1;
    });
    let busy: Vec<_> = (0..2)
        .map(|_| server.begin("POST", PATH, &[], long().to_string().as_bytes()))
        .collect();
    server.wait_for("blip2_serving", 2.0);
    let (status, head, body) = server.request("POST", PATH, &[], chat("?").to_string().as_bytes());
    assert_eq!(status, 503, "{body}");
    assert!(head.to_lowercase().contains("retry-after: "), "{head}");
    assert_eq!(server.get("/health").0, 200);
    drop(busy);
    server.wait_for("blip2_serving", 0.0);
    server.ask(PATH, &chat("?"));

    let server = endless(|limits| limits.requests_of_client = 1);
    let busy = server.begin("POST", PATH, &[], long().to_string().as_bytes());
    server.wait_for("blip2_serving", 1.0);
    assert_eq!(
        server.refused(PATH, &chat("?")),
        (429, "too_many_requests".to_owned())
    );
    drop(busy);
    server.wait_for("blip2_serving", 0.0);
    server.ask(PATH, &chat("?"));
}

#[test]
fn a_request_has_its_time() {
    let server = endless(|limits| limits.time = Duration::from_millis(500));
    let mut body = long();
    body["stream"] = json!(false);
    let (status, head, told) = server.request("POST", PATH, &[], body.to_string().as_bytes());
    assert!(status == 504 && told.contains("\"code\":\"timeout\""), "{told}");
    let head = head.to_lowercase();
    assert!(
        head.contains("x-should-retry: false") && !head.contains("retry-after"),
        "{head}"
    );
    server.wait_for("blip2_rows", 0.0);
    // A text that is being told ends with an error.
    let (status, _, told) = server.request("POST", PATH, &[], long().to_string().as_bytes());
    assert_eq!(status, 200);
    assert!(
        told.contains("\"code\":\"timeout\"") && !told.contains("[DONE]"),
        "{told}"
    );
    server.wait_for("blip2_rows", 0.0);
}

#[test]
fn rows_are_never_more_than_allowed() {
    let server = Running::new(OPT, |options| options.limits.rows = 3);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..9)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let mut body = chat(&format!("what is number {number}?"));
                    body["num_beams"] = json!(1 + number % 3);
                    server.ask(PATH, &body)
                })
            })
            .collect();
        while asking.iter().any(|asking| !asking.is_finished()) {
            assert!(server.figure("blip2_rows") <= 3.0);
        }
    });
}
