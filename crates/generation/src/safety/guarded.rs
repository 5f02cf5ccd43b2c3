//! A text that is told while it is written, past a filter.

use super::{Filter, Finding};

/// Tells a growing text as far as a filter has looked at it, in whole words: what looks like a word of its own may be the beginning of
/// another. Once something is found, nothing more is told.
pub struct Guarded<'a> {
    filter: &'a dyn Filter,
    written: String,
    /// Bytes of it that were told.
    told: usize,
    finding: Option<Finding>,
}

impl<'a> Guarded<'a> {
    /// A text that has not begun.
    pub fn new(filter: &'a dyn Filter) -> Self {
        Self {
            filter,
            written: String::new(),
            told: 0,
            finding: None,
        }
    }

    /// Adds `piece`; what can be told by now, and was not told before.
    pub fn push(&mut self, piece: &str) -> &str {
        self.written += piece;
        let end = whole_words(&self.written).len();
        self.tell(end)
    }

    /// The rest of the text, which is complete.
    pub fn finish(&mut self) -> &str {
        self.tell(self.written.len())
    }

    /// What was found.
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    fn tell(&mut self, end: usize) -> &str {
        if self.finding.is_some() || end <= self.told {
            return "";
        }
        self.finding = self.filter.find(&self.written[..end]);
        if self.finding.is_some() {
            return "";
        }
        let news = &self.written[self.told..end];
        self.told = end;
        news
    }
}

/// `text` up to its last word, which may still grow into another one. In scripts that write without blanks between words (and know no
/// capitals), nothing would ever be whole: there every character is.
pub fn whole_words(text: &str) -> &str {
    text.trim_end_matches(|letter: char| {
        letter.is_lowercase() || letter.is_uppercase() || letter.is_numeric()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bombs;

    impl Filter for Bombs {
        fn find(&self, text: &str) -> Option<Finding> {
            let category = "weapons".to_owned();
            let found = text.split_whitespace().any(|word| word == "bomb");
            found.then_some(Finding { category })
        }
    }

    #[test]
    fn a_word_is_whole_once_something_follows() {
        for (text, whole) in [
            ("make a bomb", "make a "),
            ("make a bomber", "make a "),
            ("make a bomber jacket", "make a bomber "),
            ("a bomb!", "a bomb!"),
            ("eine Straße", "eine "),
            ("两只猫", "两只猫"),
            ("bomb", ""),
            ("", ""),
        ] {
            assert_eq!(whole_words(text), whole);
        }
    }

    #[test]
    fn what_is_found_is_never_told() {
        let told = |pieces: &[&str]| {
            let mut guarded = Guarded::new(&Bombs);
            let mut told: String = pieces
                .iter()
                .map(|piece| guarded.push(piece).to_owned())
                .collect();
            told += guarded.finish();
            (told, guarded.finding().is_some())
        };
        assert_eq!(
            told(&["a", " bo", "mb", "er jacket"]),
            ("a bomber jacket".to_owned(), false)
        );
        assert_eq!(
            told(&["a", " bo", "mb", " here", " too"]),
            ("a ".to_owned(), true)
        );
        assert_eq!(told(&["a bomb"]), ("a ".to_owned(), true));
        assert_eq!(told(&[]), (String::new(), false));
    }
}
