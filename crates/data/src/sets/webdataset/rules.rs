//! Which members of a group are picture and caption, and whether the group is a sample.

use super::group::{Group, Part};
use super::names;

/// Extensions of pictures, the first that a group has counts; the format is told by the bytes.
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Extensions of captions.
const TEXTS: [&str; 3] = ["txt", "caption", "text"];
/// Where captions may be fields of an object.
const JSON: &str = "json";

/// A caption has at most so many bytes, a JSON member and an encoded picture so many.
const LONGEST_TEXT: u64 = 1 << 16;
const LONGEST_JSON: u64 = 1 << 24;
const LARGEST_PICTURE: u64 = 1 << 28;

/// What makes a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Where captions are taken from.
    pub captions: CaptionSource,
    /// Whether a picture without a text is no sample. Switch it off where pictures alone are wanted.
    pub needs_text: bool,
}

/// Where the captions of a sample are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CaptionSource {
    /// The first of `.txt`, `.caption`, `.text` that is there, else the fields `caption` or `captions` of `.json`.
    Members,
    /// The fields of `.json` alone, as LAVIS takes them.
    Json,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            captions: CaptionSource::Members,
            needs_text: true,
        }
    }
}

/// A word for counts and what was wrong.
pub(super) type Refusal = (&'static str, String);

impl Rules {
    /// Whether the group is a sample, as far as headers tell.
    pub(super) fn judge(self, group: &Group) -> Result<(), Refusal> {
        if names::is_unsafe(&group.key) {
            return Err(("member_unsafe_name", "its name leaves the archive".into()));
        }
        let (picture, text) = (group.first_of(&PICTURES), self.text(group));
        if let Some(breaks) = &group.breaks {
            // Members may be lost: only what has everything, and has it beside the picture, is known to be whole.
            let is_whole =
                !breaks.is_inside && picture.is_some() && text.is_some_and(|text| text.extension != JSON);
            if !is_whole {
                return Err((breaks.reason, breaks.problem.clone()));
            }
        }
        let Some(picture) = picture else {
            return Err(("no_picture", lacking("picture", group)));
        };
        if picture.size > LARGEST_PICTURE {
            let problem = format!(
                "its .{} has {} bytes, at most {LARGEST_PICTURE} are read",
                picture.extension, picture.size
            );
            return Err(("picture_too_large", problem));
        }
        match text {
            None if self.needs_text => Err(("no_text", lacking("text", group))),
            Some(text) if text.size > longest(text) => {
                let problem = format!(
                    "its .{} has {} bytes, at most {} are read",
                    text.extension,
                    text.size,
                    longest(text)
                );
                Err(("text_too_large", problem))
            }
            _ => Ok(()),
        }
    }

    /// The member that holds the picture.
    pub(super) fn picture(self, group: &Group) -> Option<&Part> {
        group.first_of(&PICTURES)
    }

    /// The member that holds the captions.
    pub(super) fn text(self, group: &Group) -> Option<&Part> {
        let json = || group.part(JSON);
        match self.captions {
            CaptionSource::Members => group.first_of(&TEXTS).or_else(json),
            CaptionSource::Json => json(),
        }
    }

    /// The captions of a sample, if they will do.
    pub(super) fn accept(self, texts: Vec<String>) -> Result<Vec<String>, Refusal> {
        if texts.is_empty() && self.needs_text {
            return Err(("no_text", "its .json has neither `caption` nor `captions`".into()));
        }
        match texts.iter().map(String::len).max() {
            Some(length) if length as u64 > LONGEST_TEXT => Err((
                "text_too_large",
                format!("a caption has {length} bytes, at most {LONGEST_TEXT} are read"),
            )),
            _ => Ok(texts),
        }
    }

    /// A JSON member beside the captions, small enough to look whether it is JSON at all.
    pub(super) fn other_json(self, group: &Group) -> Option<&Part> {
        let json = group.part(JSON).filter(|json| json.size <= LONGEST_JSON)?;
        let is_source = self.text(group).is_some_and(|text| text.extension == JSON);
        (!is_source).then_some(json)
    }
}

/// Whether a member's captions are fields of an object.
pub(super) fn is_json(part: &Part) -> bool {
    part.extension == JSON
}

fn longest(text: &Part) -> u64 {
    if is_json(text) { LONGEST_JSON } else { LONGEST_TEXT }
}

fn lacking(what: &str, group: &Group) -> String {
    let members: Vec<&str> = group.parts.iter().map(|part| part.extension.as_str()).collect();
    let mut problem = format!("no {what} among its members: {}", members.join(", "));
    if !group.without_bytes.is_empty() {
        let names = group.without_bytes.join(", ");
        problem.push_str(&format!(
            "; links and devices are not followed (member_not_a_file): {names}"
        ));
    }
    problem
}
