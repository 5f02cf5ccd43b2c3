//! The words by which unusable samples are counted, beside those of [`Picture::decode`](super::Picture::decode).

/// The file that the annotations name is not there.
pub(super) const PICTURE_MISSING: &str = "picture_missing";
/// The file that the annotations name lies outside of the folder of pictures.
pub(super) const PICTURE_OUTSIDE: &str = "picture_outside";
/// The file is there and cannot be read.
pub(super) const PICTURE_UNREADABLE: &str = "picture_unreadable";
/// The column of pictures holds nothing.
pub(super) const PICTURE_NULL: &str = "picture_null";
/// A name without bytes.
pub(super) const PICTURE_BYTES_MISSING: &str = "picture_bytes_missing";
/// A picture of no bytes.
pub(super) const PICTURE_EMPTY: &str = "picture_empty";
/// More pixels than are read.
pub(super) const PICTURE_TOO_LARGE: &str = "picture_too_large";
/// Nothing is said about the picture: no text where one belongs.
pub(super) const NO_TEXT: &str = "no_text";
/// A text that is null.
pub(super) const TEXT_NULL: &str = "text_null";
/// A text whose bytes are not UTF-8.
pub(super) const TEXT_NOT_UTF8: &str = "text_not_utf8";
/// A list of captions without any.
pub(super) const NO_CAPTIONS: &str = "no_captions";
/// A question without the answers that others have.
pub(super) const NO_ANSWERS: &str = "no_answers";
/// An annotation of a picture that the file does not list.
pub(super) const IMAGE_NOT_LISTED: &str = "image_not_listed";
/// An annotation of a question that the file does not list.
pub(super) const QUESTION_NOT_LISTED: &str = "question_not_listed";
/// A picture that the metadata of its folder do not mention.
pub(super) const NOT_IN_METADATA: &str = "not_in_metadata";
/// img2dataset could not fetch it.
pub(super) const FAILED_TO_DOWNLOAD: &str = "failed_to_download";
/// img2dataset could not read what it fetched.
pub(super) const FAILED_TO_RESIZE: &str = "failed_to_resize";
/// An index behind the last sample.
pub(super) const NO_SUCH_SAMPLE: &str = "no_such_sample";
/// A row whose bytes do not mean anything.
pub(super) const ROW_DAMAGED: &str = "row_damaged";
/// What lies in the place of a picture was fetched from another address.
pub(super) const URL_DIFFERS: &str = "url_differs";
/// A text of more bytes than any caption has.
pub(super) const TEXT_TOO_LARGE: &str = "text_too_large";
