//! One client: asks this and that, sends nonsense and worse, and sometimes leaves before it is answered, or never reads what is.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::hostile;

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
    /// Sends a small file that claims to be a huge picture.
    Bomb,
    /// Asks, and reads nothing of any answer.
    Deaf,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) deed: Deed,
    pub(crate) ending: Ending,
    pub(crate) seconds: f64,
}

/// How a deed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Answered(u16),
    /// The client went away.
    Left,
    /// The server ended the connection of who read nothing.
    CutOff,
    /// The connection broke, or nothing came for very long.
    Broken,
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => formatter.pad(&status.to_string()),
            Self::Left => formatter.pad("left"),
            Self::CutOff => formatter.pad("cut off"),
            Self::Broken => formatter.pad("broken"),
        }
    }
}

impl Deed {
    /// Whether this is how it should end: a full queue is no fault, and neither is the end of a request's time.
    pub(crate) fn expects(self, ending: Ending) -> bool {
        match self {
            Self::Vanish => ending == Ending::Left,
            Self::Nonsense | Self::Bomb => matches!(ending, Ending::Answered(400 | 503)),
            Self::Chat | Self::Stream | Self::Caption => matches!(ending, Ending::Answered(200 | 503 | 504)),
            Self::Deaf => ending == Ending::CutOff,
        }
    }
}

pub(crate) struct Client<'a> {
    address: SocketAddr,
    picture: &'a str,
    max_tokens: usize,
    number: u64,
    /// What it does first, where that is not left to chance.
    first: Option<Deed>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(address: SocketAddr, number: u64, picture: &'a str, max_tokens: usize) -> Self {
        Self {
            address,
            picture,
            max_tokens,
            number,
            // Also a short run has one of each.
            first: match number {
                0 => Some(Deed::Deaf),
                1 => Some(Deed::Bomb),
                _ => None,
            },
        }
    }

    /// Does the next thing.
    pub(crate) fn act(&mut self) -> Outcome {
        self.number = self
            .number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Who reads nothing is busy for half a minute: it is rare, or nobody else would be left.
        let chosen = match (self.number >> 33) % 400 {
            0 => Deed::Deaf,
            1..20 => Deed::Bomb,
            20..40 => Deed::Nonsense,
            40..80 => Deed::Vanish,
            80..120 => Deed::Caption,
            120..240 => Deed::Stream,
            _ => Deed::Chat,
        };
        let deed = self.first.take().unwrap_or(chosen);
        let started = Instant::now();
        let ending = self.ask(deed).unwrap_or(Ending::Broken);
        Outcome {
            deed,
            ending,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn ask(&self, deed: Deed) -> io::Result<Ending> {
        let (path, body) = match deed {
            Deed::Chat => (CHAT, self.question(self.max_tokens, false).to_string()),
            Deed::Stream => (CHAT, self.question(self.max_tokens, true).to_string()),
            Deed::Vanish | Deed::Deaf => (CHAT, self.question(300, true).to_string()),
            Deed::Caption => (
                "/v1/caption",
                json!({"image": self.picture, "num_beams": 3, "max_tokens": self.max_tokens}).to_string(),
            ),
            Deed::Bomb => (
                "/v1/caption",
                json!({"image": hostile::BOMBS[(self.number >> 40) as usize % hostile::BOMBS.len()]})
                    .to_string(),
            ),
            Deed::Nonsense => (CHAT, "{\"messages\": ".to_owned()),
        };
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let connection = if deed == Deed::Deaf { "keep-alive" } else { "close" };
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut start = [0; 12];
        if deed == Deed::Vanish {
            // Some wait for a beginning, some do not.
            if self.number.is_multiple_of(2) {
                stream.read_exact(&mut start)?;
            }
            return Ok(Ending::Left);
        }
        if deed == Deed::Deaf {
            let cut = hostile::read_nothing(&mut stream)?;
            return Ok(if cut { Ending::CutOff } else { Ending::Broken });
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
        let status = if whole { status } else { Some(500) };
        Ok(status.map_or(Ending::Broken, Ending::Answered))
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
