//! One client: asks this and that, sends nonsense, and sometimes leaves before it is answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How clients call the model.
pub(crate) const MODEL: &str = "load";
/// Longer than the server allows.
const PATIENCE: Duration = Duration::from_secs(180);
const CHAT: &str = "/v1/chat/completions";

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// Asks, and waits for the whole answer.
    Chat,
    /// Asks, and reads piece by piece.
    Stream,
    /// Asks for a caption by beams.
    Caption,
    /// Asks for a long answer and leaves.
    Vanish,
    /// Sends what is no JSON.
    Nonsense,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) deed: Deed,
    /// Nothing where the client left, or the connection broke.
    pub(crate) status: Option<u16>,
    pub(crate) seconds: f64,
}

impl Deed {
    /// Whether this is how it should end: a full queue is no fault, and neither is the end of a request's time.
    pub(crate) fn expects(self, status: Option<u16>) -> bool {
        match self {
            Self::Vanish => status.is_none(),
            Self::Nonsense => matches!(status, Some(400 | 503)),
            Self::Chat | Self::Stream | Self::Caption => matches!(status, Some(200 | 503 | 504)),
        }
    }
}

pub(crate) struct Client<'a> {
    address: SocketAddr,
    picture: &'a str,
    max_tokens: usize,
    number: u64,
}

impl<'a> Client<'a> {
    pub(crate) fn new(address: SocketAddr, number: u64, picture: &'a str, max_tokens: usize) -> Self {
        Self {
            address,
            picture,
            max_tokens,
            number,
        }
    }

    /// Does the next thing.
    pub(crate) fn act(&mut self) -> Outcome {
        self.number = self
            .number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let deed = match (self.number >> 33) % 10 {
            0..4 => Deed::Chat,
            4..7 => Deed::Stream,
            7 => Deed::Caption,
            8 => Deed::Vanish,
            _ => Deed::Nonsense,
        };
        let started = Instant::now();
        let status = self.ask(deed).ok().flatten();
        Outcome {
            deed,
            status,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn ask(&self, deed: Deed) -> io::Result<Option<u16>> {
        let (path, body) = match deed {
            Deed::Chat => (CHAT, self.question(self.max_tokens, false).to_string()),
            Deed::Stream => (CHAT, self.question(self.max_tokens, true).to_string()),
            Deed::Vanish => (CHAT, self.question(300, true).to_string()),
            Deed::Caption => (
                "/v1/caption",
                json!({"image": self.picture, "num_beams": 3, "max_tokens": self.max_tokens}).to_string(),
            ),
            Deed::Nonsense => (CHAT, "{\"messages\": ".to_owned()),
        };
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: load\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut start = [0; 12];
        if deed == Deed::Vanish {
            // Some wait for a beginning, some do not.
            if self.number.is_multiple_of(2) {
                stream.read_exact(&mut start)?;
            }
            return Ok(None);
        }
        stream.read_exact(&mut start)?;
        let status = std::str::from_utf8(&start[9..])
            .ok()
            .and_then(|status| status.parse().ok());
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest)?;
        let told = String::from_utf8_lossy(&rest);
        let whole = deed != Deed::Stream || status != Some(200) || told.contains("[DONE]");
        // A stream that ends in an error has no good end.
        Ok(if whole { status } else { Some(500) })
    }

    fn question(&self, max_tokens: usize, stream: bool) -> Value {
        let question = format!("what is number {}?", self.number % 1000);
        json!({
            "model": MODEL,
            "max_tokens": max_tokens,
            "temperature": f64::from(u8::from(self.number.is_multiple_of(3))),
            "stream": stream,
            "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": self.picture}},
                {"type": "text", "text": question},
            ]}],
        })
    }
}
