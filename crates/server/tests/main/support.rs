//! A server over a small model, and a client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blip2::{Blip2, DecodeOptions, RgbImage, open_picture};
use blip2_golden::{device, fixture};
use blip2_server::{Server, ServerOptions};
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(crate) const OPT: &str = "hf/opt-tiny";
pub(crate) const T5: &str = "hf/flant5-tiny";
pub(crate) const RETRIEVAL: &str = "hf/itm-tiny";
/// How clients call the model.
pub(crate) const NAME: &str = "small";
/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn load(folder: &str) -> Blip2 {
    Blip2::from_pretrained(&fixture(folder), "no home is needed".as_ref(), &device()).unwrap()
}

pub(crate) fn picture_file(number: usize) -> PathBuf {
    fixture(OPT).join(format!("image{number}.png"))
}

pub(crate) fn picture(number: usize) -> RgbImage {
    open_picture(&picture_file(number), DecodeOptions::upright()).unwrap()
}

/// The same as a data URL.
pub(crate) fn data_url(number: usize) -> String {
    let bytes = std::fs::read(picture_file(number)).unwrap();
    format!("data:image/png;base64,{}", STANDARD.encode(bytes))
}

/// A question about a picture.
pub(crate) fn question(text: &str) -> Value {
    json!({"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": data_url(1)}},
        {"type": "text", "text": text},
    ]})
}

/// What asks it.
pub(crate) fn chat(text: &str) -> Value {
    json!({"model": NAME, "messages": [question(text)], "max_tokens": 12})
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new(folder: &str, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut options = ServerOptions::named(NAME);
        options.port = 0;
        change(&mut options);
        let model = Arc::new(load(folder));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::bind(model, options)).unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let stop = async {
                let _ = stopped.await;
            };
            runtime.block_on(server.run(stop)).unwrap();
        });
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Asks it to end.
    pub(crate) fn stop(&mut self) {
        self.stop.take();
    }

    /// Waits for its end.
    pub(crate) fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Status and body of what `path` answers to `body`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    pub(crate) fn post_bytes(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let (status, _, body) = self.request("POST", path, &[("Content-Type", "application/json")], body);
        let body = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        (status, body)
    }

    /// What `path` answers to `body`, which is fine.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Status and code of a refusal.
    pub(crate) fn refused(&self, path: &str, body: &Value) -> (u16, String) {
        let (status, answer) = self.post(path, body);
        let error = &answer["error"];
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| message.len() > 10),
            "{answer}"
        );
        (status, error["code"].as_str().unwrap().to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.request("GET", path, &[], b"");
        (status, body)
    }

    /// Status, headers and body.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> (u16, String, String) {
        let mut stream = self.begin(method, path, headers, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match head.to_lowercase().contains("transfer-encoding: chunked") {
            true => dechunked(body),
            false => body.to_owned(),
        };
        (status, head.to_owned(), body)
    }

    /// A connection on which a request was sent.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let json = [("Content-Type", "application/json")];
        let kind = headers
            .iter()
            .all(|(name, _)| *name != "Content-Type")
            .then_some(&json[0]);
        let host = match headers.iter().any(|(name, _)| *name == "Host") {
            true => "",
            false => "Host: localhost\r\n",
        };
        let headers: String = headers
            .iter()
            .chain(kind)
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses does not read to the end.
        let _ = stream.write_all(body);
        stream
    }

    /// The value of a figure.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let (_, figures) = self.get("/metrics");
        let line = figures
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{")));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Waits until a figure has this value.
    pub(crate) fn wait_for(&self, name: &str, value: f64) {
        let until = Instant::now() + PATIENCE;
        while self.figure(name) != value {
            assert!(Instant::now() < until, "{name} is {}", self.figure(name));
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking()) {
            thread.join().unwrap();
        }
    }
}

fn dechunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &rest[..size];
        body = rest[size..].strip_prefix("\r\n").unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    whole
}

/// The events of a stream, which ends as it should.
pub(crate) fn events(body: &str) -> Vec<Value> {
    let mut events: Vec<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    assert_eq!(events.pop(), Some("[DONE]"), "{body}");
    events
        .into_iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}
