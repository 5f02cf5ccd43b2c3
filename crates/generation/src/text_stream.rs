//! Text that is given out while it is written: whole characters, up to the first of some stops.

/// What decoding puts in the place of bytes that make no character, or not yet.
const NO_CHARACTER: char = char::REPLACEMENT_CHARACTER;

/// Gives out a growing text piece by piece. White space around it is left out, as it is from a text that is given at once.
#[derive(Clone, Debug, Default)]
pub struct TextStream {
    stops: Vec<String>,
    said: String,
    stopped: bool,
}

impl TextStream {
    /// A text that ends before the first of `stops` that it comes to; empty ones count as none.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            ..Self::default()
        }
    }

    /// What can be said of `text`, all that is written so far, and was not said before: no character of which bytes may be
    /// missing, nothing that may become a stop, no white space that may be the last.
    pub fn push(&mut self, text: &str) -> String {
        let whole = text.trim_end_matches(NO_CHARACTER);
        self.say(whole, false)
    }

    /// The rest of `text`, which is complete.
    pub fn finish(&mut self, text: &str) -> String {
        self.say(text, true)
    }

    /// Whether the text has come to a stop: nothing will follow.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// All that was said.
    pub fn said(&self) -> &str {
        &self.said
    }

    fn say(&mut self, text: &str, complete: bool) -> String {
        if self.stopped {
            return String::new();
        }
        let stop = self
            .stops
            .iter()
            .filter_map(|stop| text.find(stop.as_str()))
            .min();
        self.stopped = stop.is_some();
        let end = match (stop, complete) {
            (Some(stop), _) => stop,
            (None, true) => text.len(),
            (None, false) => text.len() - self.held_back(text),
        };
        // What was decoded otherwise before cannot be taken back.
        let piece = text[..end].trim().strip_prefix(self.said.as_str());
        let piece = piece.unwrap_or_default().to_owned();
        self.said += &piece;
        piece
    }

    /// Length of the longest end of `text` with which a stop begins.
    fn held_back(&self, text: &str) -> usize {
        let beginnings = self.stops.iter().flat_map(|stop| {
            let ends = stop.char_indices().map(|(end, _)| &stop[..end]);
            ends.filter(|beginning| text.ends_with(beginning)).map(str::len)
        });
        beginnings.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::TextStream;

    /// The pieces of a text whose bytes come one by one, decoded as vocabularies of bytes do.
    fn pieces(text: &str, stops: &[&str]) -> (Vec<String>, TextStream) {
        let mut stream = TextStream::new(stops.iter().map(|stop| (*stop).to_owned()).collect());
        let mut pieces = Vec::new();
        for end in 1..=text.len() {
            pieces.push(stream.push(&String::from_utf8_lossy(&text.as_bytes()[..end])));
        }
        pieces.push(stream.finish(text));
        pieces.retain(|piece| !piece.is_empty());
        (pieces, stream)
    }

    #[test]
    fn characters_come_whole() {
        let (pieces, stream) = pieces(" a é 🍎👩‍🚀 z ", &[]);
        assert_eq!(pieces.concat(), "a é 🍎👩‍🚀 z");
        assert_eq!(stream.said(), pieces.concat());
        assert!(
            pieces.iter().all(|piece| !piece.contains('\u{fffd}')),
            "{pieces:?}"
        );
        assert!(pieces.len() > 5, "{pieces:?}");
    }

    #[test]
    fn a_character_that_never_comes_is_said_at_the_end() {
        let mut stream = TextStream::new(vec![]);
        assert_eq!(stream.push("a \u{fffd}"), "a");
        assert_eq!(stream.finish("a \u{fffd}"), " \u{fffd}");
    }

    #[test]
    fn nothing_of_a_stop_is_said() {
        for (text, stops, expected, stopped) in [
            ("one two three", &["two"][..], "one", true),
            ("one two three", &["twofold", "three"], "one two", true),
            ("aaab", &["aab"], "a", true),
            ("one tw", &["two"], "one tw", false),
            ("one🍎two", &["🍏", "🍎"], "one", true),
            ("one", &[""], "one", false),
            ("stop", &["stop"], "", true),
        ] {
            let (pieces, stream) = pieces(text, stops);
            assert_eq!(pieces.concat(), expected, "{text} {stops:?}");
            assert_eq!(stream.stopped(), stopped, "{text} {stops:?}");
        }
    }
}
