//! What ranks tell each other before they do it.

use crate::{Engine, HEADER, Header};

/// A collective as ranks tell each other of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    name: String,
    what: String,
    bytes: usize,
    /// Whether ranks may have different numbers of bytes.
    any_length: bool,
}

/// Bytes of a header behind which the text begins.
const TEXT: usize = 9;

impl Operation {
    pub(crate) fn new(name: &str, what: &str, bytes: usize) -> Self {
        Self {
            name: name.to_owned(),
            what: what.to_owned(),
            bytes,
            any_length: false,
        }
    }

    pub(crate) fn of_any_length(name: &str, what: &str, bytes: usize) -> Self {
        Self {
            any_length: true,
            ..Self::new(name, what, bytes)
        }
    }

    /// Number of bytes, whether it may differ, and as much of the text as there is room for.
    pub(crate) fn header(&self) -> Header {
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&(self.bytes as u64).to_le_bytes());
        header[8] = u8::from(self.any_length);
        let text = format!("{}\t{}", self.name, self.what);
        let room = text.len().min(HEADER - TEXT);
        header[TEXT..TEXT + room].copy_from_slice(&text.as_bytes()[..room]);
        header
    }

    pub(crate) fn read(header: &Header) -> Self {
        let (bytes, _) = header.split_at(8);
        let bytes = bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let text = String::from_utf8_lossy(&header[TEXT..]);
        let text = text.trim_end_matches('\0');
        let (name, what) = text.split_once('\t').unwrap_or((text, ""));
        Self {
            any_length: header[8] != 0,
            ..Self::new(name, what, bytes)
        }
    }

    /// How many bytes it has here.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether another rank is at the same.
    pub(crate) fn fits(&self, told: &Self) -> bool {
        let length = self.any_length || self.bytes == told.bytes;
        length && self.header()[8..] == told.header()[8..]
    }

    /// With the rank that is at it.
    pub(crate) fn on(&self, engine: &dyn Engine) -> String {
        format!("{self}, on rank {} of {}", engine.rank(), engine.size())
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name, what, bytes, ..
        } = self;
        match (name.as_str(), bytes) {
            ("barrier", _) => write!(formatter, "barrier `{what}`"),
            ("all_reduce", bytes) => {
                write!(formatter, "all_reduce of `{what}` [{}]", bytes / size_of::<f32>())
            }
            (name, bytes) => write!(formatter, "{name} of `{what}` ({bytes} bytes)"),
        }
    }
}
