//! A hub on 127.0.0.1: it lists one model, gives its files whole or in part, and misbehaves as it is told.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub(crate) const MODEL: &str = "tests/tiny";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How one file is served.
#[derive(Clone, Default)]
pub(crate) struct Served {
    pub(crate) content: Vec<u8>,
    /// Whether it lies elsewhere, as large files do: the hub names hash and size, and redirects.
    pub(crate) large: bool,
    /// So many transfers break off, each after this share of what it should bring.
    pub(crate) breaks: usize,
    pub(crate) share: f64,
    /// What is announced, where it is not the truth.
    pub(crate) announced_size: Option<usize>,
    pub(crate) announced_etag: Option<String>,
    /// Whether ranges are ignored.
    pub(crate) always_whole: bool,
    /// Whether the length of a body is only known when the connection closes.
    pub(crate) no_length: bool,
    /// A wait before each 64 kB.
    pub(crate) delay: Duration,
}

/// What the hub does besides.
#[derive(Clone, Default)]
pub(crate) struct Manners {
    pub(crate) files: HashMap<String, Served>,
    /// The token that is asked for.
    pub(crate) token: Option<&'static str>,
    /// What every question is answered with: a status line and headers.
    pub(crate) refusal: Option<&'static str>,
    /// So many questions are answered with 503.
    pub(crate) busy: usize,
    /// Whether the address of a large file is relative, or another host's name for this machine.
    pub(crate) relative: bool,
}

/// A question, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) host: String,
}

#[derive(Clone)]
pub(crate) struct Server {
    port: u16,
    manners: Arc<Mutex<Manners>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            manners: Arc::new(Mutex::new(manners)),
            asked: Arc::default(),
        };
        let answering = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = answering.clone();
                // Whoever asked may have gone.
                std::thread::spawn(move || drop(server.answer(stream)));
            }
        });
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Changes what it does from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap());
    }

    /// What was asked since this was last asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let mut headers = HashMap::new();
        for line in lines {
            match line?.split_once(": ") {
                Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let asked = Asked {
            path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
            range: headers.remove("range"),
            token: headers.remove("authorization"),
            host: headers.remove("host").unwrap_or_default(),
        };
        self.asked.lock().unwrap().push(asked.clone());
        let manners = {
            let mut manners = self.manners.lock().unwrap();
            let busy = manners.busy > 0;
            manners.busy = manners.busy.saturating_sub(1);
            let refusal = busy.then_some("503 Service Unavailable\r\n");
            Manners {
                refusal: refusal.or(manners.refusal),
                ..manners.clone()
            }
        };
        if let Some(refusal) = manners.refusal {
            return write!(
                stream,
                "HTTP/1.1 {refusal}Content-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        let elsewhere = asked.path.strip_prefix("/cdn/");
        let bearer = manners.token.map(|token| format!("Bearer {token}"));
        if elsewhere.is_none() && bearer.is_some() && asked.token != bearer {
            return write!(stream, "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n");
        }
        let resolve = asked.path.strip_prefix(&format!("/{MODEL}/resolve/{COMMIT}/"));
        if let Some(file) = elsewhere {
            return self.give(stream, &manners, file, asked.range.as_deref());
        }
        if ["main", "v1.0", "refs%2Fpr%2F1", COMMIT]
            .map(|revision| format!("/api/models/{MODEL}/revision/{revision}"))
            .contains(&asked.path)
        {
            let mut files: Vec<_> = manners
                .files
                .keys()
                .map(|file| format!("{{\"rfilename\": \"{file}\"}}"))
                .collect();
            files.sort();
            let body = format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", files.join(", "));
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
        match resolve.and_then(|file| Some((file, manners.files.get(file)?))) {
            Some((file, served)) if served.large => {
                let place = match manners.relative {
                    true => String::new(),
                    // The same machine under another name, as a CDN is another host.
                    false => format!("http://localhost:{}", self.port),
                };
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\n\
                     Location: {place}/cdn/{file}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    served.etag(),
                    served.size()
                )
            }
            Some((file, _)) => self.give(stream, &manners, file, asked.range.as_deref()),
            None => write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nX-Error-Code: {}\r\nConnection: close\r\n\r\n",
                if resolve.is_some() {
                    "EntryNotFound"
                } else {
                    "RevisionNotFound"
                }
            ),
        }
    }

    /// The content of `file`, or what `range` asks for of it.
    fn give(
        &self,
        mut stream: TcpStream,
        manners: &Manners,
        file: &str,
        range: Option<&str>,
    ) -> std::io::Result<()> {
        let served = &manners.files[file];
        let content = &served.content;
        let bounds = range
            .filter(|_| !served.always_whole)
            .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (start, end) = bounds.map_or((0, content.len()), |(start, end)| {
            (
                start.parse().unwrap(),
                end.parse::<usize>().map_or(content.len(), |end| end + 1),
            )
        });
        if start >= content.len() {
            let total = content.len();
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\nConnection: close\r\n\r\n"
            );
        }
        let body = &content[start..end.min(content.len())];
        let mut head = match bounds {
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\n",
                start + body.len() - 1,
                content.len()
            ),
            None => "200 OK\r\n".to_owned(),
        };
        if !served.no_length {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        // What lies elsewhere is called differently there.
        let etag = if served.large {
            "elsewhere".to_owned()
        } else {
            served.etag()
        };
        write!(
            stream,
            "HTTP/1.1 {head}ETag: W/\"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n"
        )?;
        let is_transfer = body.len() > 1;
        let kept = match self.manners.lock().unwrap().files.get_mut(file) {
            Some(served) if is_transfer && served.breaks > 0 => {
                served.breaks -= 1;
                (body.len() as f64 * served.share) as usize
            }
            _ => body.len(),
        };
        for piece in body[..kept].chunks(1 << 16) {
            std::thread::sleep(served.delay);
            stream.write_all(piece)?;
        }
        Ok(())
    }
}

impl Served {
    pub(crate) fn small(content: impl Into<Vec<u8>>) -> Self {
        Self {
            content: content.into(),
            ..Self::default()
        }
    }

    pub(crate) fn large(content: impl Into<Vec<u8>>) -> Self {
        Self {
            large: true,
            ..Self::small(content)
        }
    }

    /// The SHA-256 of large files; of small ones, as on the hub, something shorter.
    pub(crate) fn etag(&self) -> String {
        let hash = format!("{:x}", Sha256::digest(&self.content));
        let true_etag = if self.large { hash } else { hash[..40].to_owned() };
        self.announced_etag.clone().unwrap_or(true_etag)
    }

    fn size(&self) -> usize {
        self.announced_size.unwrap_or(self.content.len())
    }
}
