//! The text of one token: what it adds to those in front of it. By itself a token of a vocabulary that marks where words begin
//! decodes without its space.

use blip2::{Blip2, Blip2Error};

/// What decoding puts in the place of bytes that make no character, or not yet.
const NO_CHARACTER: char = char::REPLACEMENT_CHARACTER;

/// Decodes tokens that may all follow the same ones.
pub(super) struct TokenTexts<'a> {
    model: &'a Blip2,
    ids: Vec<u32>,
    before: String,
}

impl<'a> TokenTexts<'a> {
    /// # Errors
    /// [`Blip2Error`] where an id is none.
    pub(super) fn behind(model: &'a Blip2, before: &[u32]) -> Result<Self, Blip2Error> {
        Ok(Self {
            model,
            ids: before.to_vec(),
            before: match before {
                [] => String::new(),
                before => model.decode(before)?,
            },
        })
    }

    /// The text of `id`.
    ///
    /// # Errors
    /// As for [`TokenTexts::behind`].
    pub(super) fn text(&mut self, id: u32) -> Result<String, Blip2Error> {
        self.ids.push(id);
        let with = self.model.decode(&self.ids);
        self.ids.pop();
        match added(&self.before, &with?) {
            Some(text) => Ok(text.to_owned()),
            None => self.model.decode(&[id]),
        }
    }
}

/// What stands in `with` behind `before`; nothing where the one does not go on from the other, or a character is not whole.
fn added<'t>(before: &str, with: &'t str) -> Option<&'t str> {
    match before.ends_with(NO_CHARACTER) {
        true => None,
        false => with.strip_prefix(before),
    }
}

/// The bytes of the text of a token, where it has no part of a character.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    (!text.contains(NO_CHARACTER)).then(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_it_adds() {
        assert_eq!(added("", "two"), Some("two"));
        assert_eq!(added("two", "two apples"), Some(" apples"));
        assert_eq!(added("two", "two"), Some(""));
        assert_eq!(added("two ,", "two,"), None);
        assert_eq!(added("a \u{fffd}", "a é"), None);
        assert_eq!(added("a \u{fffd}", "a \u{fffd}"), None);
    }

    #[test]
    fn parts_of_characters_have_no_bytes() {
        assert_eq!(bytes(" é"), Some(" é".as_bytes().to_vec()));
        assert_eq!(bytes("\u{fffd}"), None);
    }
}
